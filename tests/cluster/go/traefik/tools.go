//go:build tools

// Package tools names the commands that are built from this module's requirements.
package tools

import (
	_ "github.com/traefik/traefik/v3/cmd/traefik"
)
