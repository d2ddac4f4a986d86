// Package lapse issues, authenticates, expires and renews opaque bearer tokens.
package lapse
