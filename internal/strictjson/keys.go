package strictjson

import (
	"bytes"
	"hash/maphash"
	"unicode"
	"unicode/utf8"
)

// keySet is the keys of one object, for finding doubled ones. It compares one
// by one while they are few, and hashes before that becomes expensive.
type keySet struct {
	checker *checker
	first   int // of this object in checker.keys
	hashes  map[uint64]struct{}
}

// fewKeys is how many keys are compared one by one.
const fewKeys = 24

// seed is secret, so that nobody can send keys whose hashes collide.
var seed = maphash.MakeSeed()

// add takes a key as written and reports whether it is new.
func (s *keySet) add(raw []byte, escaped bool) bool {
	c := s.checker
	key := raw
	if escaped || c.limits.FoldCase {
		start := len(c.arena)
		c.arena = unescape(c.arena, raw)
		if c.limits.FoldCase {
			folded := len(c.arena)
			c.arena = fold(c.arena, c.arena[start:])
			start = folded
		}
		key = c.arena[start:]
	}
	if s.mayHold(key) {
		for _, k := range c.keys[s.first:] {
			if bytes.Equal(k, key) {
				return false
			}
		}
	}
	c.keys = append(c.keys, key)
	if s.hashes == nil && len(c.keys)-s.first > fewKeys {
		s.hashes = make(map[uint64]struct{}, 4*fewKeys)
		for _, k := range c.keys[s.first:] {
			s.hashes[maphash.Bytes(seed, k)] = struct{}{}
		}
	}
	return true
}

// mayHold reports false when key is certainly new, and remembers its hash.
func (s *keySet) mayHold(key []byte) bool {
	if s.hashes == nil {
		return true
	}
	h, n := maphash.Bytes(seed, key), len(s.hashes)
	s.hashes[h] = struct{}{}
	return len(s.hashes) == n
}

// fold appends key with each character turned into the first of those that
// equal it but for case, as encoding/json compares.
func fold(dst, key []byte) []byte {
	for len(key) > 0 {
		r, size := utf8.DecodeRune(key)
		key = key[size:]
		switch {
		case 'a' <= r && r <= 'z':
			r -= 'a' - 'A'
		case r >= utf8.RuneSelf:
			for {
				next := unicode.SimpleFold(r)
				if next <= r {
					r = next
					break
				}
				r = next
			}
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}
