"""Object stores: an S3 bucket, a directory, memory, and stores around stores."""
