package natsauth

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// ReceptionUser is our own connection in [Account]: it takes clinics' events
// and answers them. No credential of the ledger stands behind it.
const ReceptionUser = "reception"

// Subjects between clinics and reception: what a clinic says, and the receipts
// of what it said without waiting for an answer.
const (
	Events   = "clinic.*.appointment.*"
	Receipts = "clinic.*.receipt.*"
)

// ReceiptSubject is where the receipt of an event goes for which nobody waits.
// Its last token is the event's id; what a token may not hold, and the percent
// sign, is written as in URLs: %2E is a dot.
func ReceiptSubject(id tenant.ID, event string) string {
	var b strings.Builder
	b.WriteString("clinic." + id.String() + ".receipt.")
	for _, c := range []byte(event) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(".*>%", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// answerWithin is how long after an event its reply subject may be published
// to, by the server's account: longer than an answer ever takes.
const answerWithin = time.Minute

// ReceptionPassword is with what reception connects. Every process with the
// same seed has the same, so that any of them may be asked about it.
func ReceptionPassword(seed string) (string, error) {
	if err := CheckSeed(seed); err != nil {
		return "", err
	}
	b, err := hkdf.Key(sha256.New, []byte(seed), nil, "doctorsflow clinics reception", 32)
	if err != nil {
		return "", fmt.Errorf("natsauth: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// reception returns the signed user of [ReceptionUser]. It may publish to
// nothing but receipts and the reply subject of what it was just sent: one
// answer each.
func (d *Door) reception(req *jwt.AuthorizationRequestClaims) (string, error) {
	want, err := ReceptionPassword(d.seed)
	if err != nil {
		return "", err
	}
	if subtle.ConstantTimeCompare([]byte(want), []byte(req.ConnectOptions.Password)) != 1 {
		return "", ErrUnknown
	}
	c := jwt.NewUserClaims(req.UserNkey)
	c.Audience, c.Name = Account, ReceptionUser
	c.Sub = jwt.Permission{Allow: jwt.StringList{Events}}
	c.Pub = jwt.Permission{Allow: jwt.StringList{Receipts}}
	c.Resp = &jwt.ResponsePermission{MaxMsgs: 1, Expires: answerWithin}
	c.Limits.Subs, c.Limits.Payload, c.Limits.Data = 4, MaxPayload, jwt.NoLimit
	c.AllowedConnectionTypes = jwt.StringList{jwt.ConnectionTypeStandard, jwt.ConnectionTypeInProcess}
	text, err := c.Encode(d.key)
	if err != nil {
		return "", fmt.Errorf("natsauth: sign: %w", err)
	}
	return text, nil
}
