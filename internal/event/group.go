package event

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// EncodeGroup returns one message of several events of one subject: a JSON
// array of them, or the plain event where there is only one.
func EncodeGroup(events []Event) ([]byte, error) {
	if len(events) == 1 {
		return Encode(events[0])
	}
	b := make([]byte, 1, 256*len(events))
	b[0] = '['
	for i, e := range events {
		one, err := Encode(e)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, one...)
	}
	return append(b, ']'), nil
}

// GroupMsgID names a group by its members, in their order: the same group
// published again is the same message.
func GroupMsgID(events []Event) string {
	if len(events) == 1 {
		return events[0].MsgID()
	}
	h := sha256.New()
	for _, e := range events {
		h.Write([]byte(e.MsgID()))
		h.Write([]byte{0})
	}
	return "group." + hex.EncodeToString(h.Sum(nil)[:16])
}

// DecodeGroup reads what [EncodeGroup] wrote, one event or several. Members
// that are not valid are left out and counted, with the first one's error,
// which wraps [ErrInvalid]: they must not take the others with them.
func DecodeGroup[E any, P interface {
	*E
	Event
}](b []byte) (events []E, invalid int, err error) {
	if b = bytes.TrimLeft(b, " \t\r\n"); len(b) == 0 || b[0] != '[' {
		e, err := Decode[E, P](b)
		if err != nil {
			return nil, 1, err
		}
		return []E{e}, 0, nil
	}
	var members []json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil || len(members) == 0 {
		return nil, 1, fmt.Errorf("%w: not JSON of this shape", ErrInvalid)
	}
	for _, m := range members {
		e, derr := Decode[E, P](m)
		if derr != nil {
			invalid++
			if err == nil {
				err = derr
			}
			continue
		}
		events = append(events, e)
	}
	return events, invalid, err
}
