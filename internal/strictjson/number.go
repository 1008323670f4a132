package strictjson

import (
	"bytes"
	"strconv"
)

// maxNumber is the longest number looked at; a double needs 25 bytes.
const maxNumber = 400

// safeDigits is a length at which a number without an exponent can be neither
// too large nor too small for a double.
const safeDigits = 300

func (c *checker) number() Code {
	start := c.i
	if c.at('-') {
		c.i++
	}
	switch {
	case c.at('0'):
		c.i++
	case !c.digits():
		return Malformed
	}
	integer := true
	if c.at('.') {
		integer = false
		if c.i++; !c.digits() {
			return Malformed
		}
	}
	exponent := false
	if c.at('e') || c.at('E') {
		exponent = true
		if c.i++; c.at('+') || c.at('-') {
			c.i++
		}
		if !c.digits() {
			return Malformed
		}
	}
	text := c.b[start:c.i]
	if !inRange(text, exponent) {
		return OutOfRange
	}
	if c.limits.ExactNumbers && !isExact(text, integer && !exponent) {
		return OutOfRange
	}
	return ""
}

func (c *checker) at(ch byte) bool { return c.i < len(c.b) && c.b[c.i] == ch }

// digits moves behind one or more digits.
func (c *checker) digits() bool {
	start := c.i
	for c.i < len(c.b) && '0' <= c.b[c.i] && c.b[c.i] <= '9' {
		c.i++
	}
	return c.i > start
}

// inRange reports whether a double holds the number as neither infinity nor,
// unless that is what is written, zero.
func inRange(text []byte, exponent bool) bool {
	switch {
	case len(text) > maxNumber:
		return false
	case len(text) <= safeDigits && !exponent:
		return true
	}
	f, err := strconv.ParseFloat(string(text), 64)
	return err == nil && (f != 0 || isZero(text))
}

// isZero reports whether every digit before the exponent is 0.
func isZero(text []byte) bool {
	if e := bytes.IndexAny(text, "eE"); e >= 0 {
		text = text[:e]
	}
	return !bytes.ContainsAny(text, "123456789")
}

// maxExact is the largest integer up to which a double holds all.
const maxExact = 1<<53 - 1

// isExact reports whether computing with the number as a double keeps it.
func isExact(text []byte, integer bool) bool {
	negative := text[0] == '-'
	if negative && isZero(text) {
		return false
	}
	if !integer {
		return true
	}
	digits := bytes.TrimPrefix(text, []byte("-"))
	n, err := strconv.ParseInt(string(digits), 10, 64)
	return err == nil && n <= maxExact
}
