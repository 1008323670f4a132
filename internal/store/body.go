package store

import (
	"bytes"
	"fmt"
	"slices"
)

// indexBody is the blind index field of a call's body.
const indexBody = "triggers.body"

// bodyHash is what tells a repeat of a call from a conflict: the body's keyed
// hash, and while the tenant's key is rotated its hash under the other key too.
type bodyHash [][]byte

// written is the one to keep.
func (h bodyHash) written() []byte { return h[0] }

// sorted is in an order that does not depend on which of the keys is in use.
func (h bodyHash) sorted() [][]byte { return slices.SortedFunc(slices.Values(h), bytes.Compare) }

// is reports whether a stored hash is the body's. An empty one was of a body
// that nobody could read any more when the tenant's key was rotated: its event
// is then known by its id alone.
func (h bodyHash) is(stored []byte) bool {
	return len(stored) == 0 || slices.ContainsFunc(h, func(b []byte) bool { return bytes.Equal(b, stored) })
}

// bodyEvent begins the event id of a call that came without one.
func bodyEvent(hash []byte) string { return fmt.Sprintf("body:%x:", hash) }
