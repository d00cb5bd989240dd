"""In what order a system comes back: decisions about recovery points, objects and steps, without doing any of it."""
