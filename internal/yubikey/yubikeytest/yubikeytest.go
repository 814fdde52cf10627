// Package yubikeytest holds what the virtual YubiKey's parts share: the cards
// are in yubikeytest/card, and two daemons that carry them to programs in
// yubikeytest/pcscd and yubikeytest/vpcd. yubikeytest/vyk runs a program with
// some.
package yubikeytest

import (
	"bytes"

	"github.com/tufops/tufops/internal/yubikey/yubikeytest/card"
)

// Daemon carries cards to programs. pcscd.Daemon is one of our own, vpcd.Daemon
// the real one.
type Daemon interface {
	// Environ is what a program needs in its environment to find the daemon.
	Environ() []string
	// Insert plugs a card in. Programs may see it a moment later.
	Insert(*card.Card) error
	// Unplug takes a card out; a command that waits for a touch fails.
	Unplug(*card.Card)
	Close() error
}

// What the owner of a virtual token has chosen, where a test does not say
// otherwise.
const (
	PIN = "246810"
	PUK = "97531086"
)

// ManagementKey is one that no factory sets, of the length that every firmware
// takes.
var ManagementKey = bytes.Repeat([]byte{0x7a, 0x15, 0x42}, 8)

// Own gives a card the secrets of this package in place of the factory's.
func Own(c *card.Card) { c.SetSecrets(PIN, PUK, ManagementKey) }
