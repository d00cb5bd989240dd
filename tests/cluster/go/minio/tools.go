//go:build tools

// Package tools names the commands that are built from this module's requirements.
package tools

import (
	_ "github.com/minio/minio"
)
