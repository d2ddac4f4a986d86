//go:build !race

package lapse

const raceEnabled = false
