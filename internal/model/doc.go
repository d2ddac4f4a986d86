// Package model is tests only. It plays every short sequence of steps, and random histories,
// against lapse and against a model of it, and compares what both answer and store.
package model
