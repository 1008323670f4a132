// Package natsauth answers a NATS server's question who a connection is: it
// turns a credential that the ledger knows into a user with exactly the
// subjects of its clinic. It must not know how the question arrives, or what
// the messages say.
package natsauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Account is where every clinic's connection is put. It has no JetStream, and
// nothing is imported into it: what a clinic may not do it cannot even name.
const Account = "CLINICS"

// Bounds of one connection. Renew bounds how long a connection lives before it
// has to be let in again, should nobody end it earlier.
const (
	MaxPayload       = 64 << 10 // bytes
	MaxSubscriptions = 64
	Renew            = 12 * time.Hour
)

// Identity is whom a credential stands for.
type Identity struct {
	Tenant     tenant.ID
	Credential uuid.UUID
	Expires    time.Time // zero: never
}

// ErrUnknown means that a credential is not in force.
var ErrUnknown = errors.New("natsauth: unknown credential")

// Ledger knows the credentials.
type Ledger interface {
	// Identify returns who a credential in force stands for, or an error that
	// wraps [ErrUnknown].
	Identify(ctx context.Context, credential uuid.UUID, secret string) (Identity, error)
}

// Door answers authorization requests. It is safe for concurrent use.
type Door struct {
	key    nkeys.KeyPair
	seed   string
	issuer string
	ledger Ledger
	log    *slog.Logger
}

// NewSeed makes the key that signs what the server is to believe, and its
// public half, which is the server's setting auth_callout.issuer.
func NewSeed() (seed, issuer string, err error) {
	key, err := nkeys.CreateAccount()
	if err != nil {
		return "", "", fmt.Errorf("natsauth: %w", err)
	}
	b, err := key.Seed()
	if err != nil {
		return "", "", fmt.Errorf("natsauth: %w", err)
	}
	issuer, err = key.PublicKey()
	if err != nil {
		return "", "", fmt.Errorf("natsauth: %w", err)
	}
	return string(b), issuer, nil
}

// CheckSeed reports, in a sentence for an operator, why a text is no seed of
// [NewSeed].
func CheckSeed(seed string) error {
	key, err := nkeys.FromSeed([]byte(seed))
	if err == nil {
		var public string
		if public, err = key.PublicKey(); err == nil && !nkeys.IsValidPublicAccountKey(public) {
			err = errors.New("another kind of key")
		}
	}
	if err != nil {
		return errors.New("NATS_CALLOUT_SEED is not the seed of an account key (SA…); make one with `doctorsflow tenant nats-creds issuer`")
	}
	return nil
}

// New returns a door that signs with a seed of [NewSeed].
func New(seed string, ledger Ledger, log *slog.Logger) (*Door, error) {
	if err := CheckSeed(seed); err != nil {
		return nil, err
	}
	key, err := nkeys.FromSeed([]byte(seed))
	if err != nil {
		return nil, fmt.Errorf("natsauth: %w", err)
	}
	issuer, err := key.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("natsauth: %w", err)
	}
	return &Door{key: key, seed: seed, issuer: issuer, ledger: ledger, log: log}, nil
}

// Answer returns the signed answer to a server's request, or nil for what is no
// request: the server then refuses the connection by itself, after its timeout.
// A refusal never says why; the log does, without the secret.
func (d *Door) Answer(ctx context.Context, request []byte) []byte {
	req, err := jwt.DecodeAuthorizationRequestClaims(string(request))
	if err != nil || !nkeys.IsValidPublicUserKey(req.UserNkey) || !nkeys.IsValidPublicServerKey(req.Server.ID) {
		d.log.Warn("a clinic connection's request could not be read")
		return nil
	}
	answer := jwt.NewAuthorizationResponseClaims(req.UserNkey)
	answer.Audience = req.Server.ID
	if answer.Jwt, err = d.user(ctx, req); err != nil {
		answer.Jwt, answer.Error = "", "not authorized"
		d.log.Info("a clinic connection was refused", "host", req.ClientInformation.Host, "reason", err)
	}
	text, err := answer.Encode(d.key)
	if err != nil {
		d.log.Error("a clinic connection's answer could not be signed", "err", err)
		return nil
	}
	return []byte(text)
}

// user returns the signed user of a request's credential.
func (d *Door) user(ctx context.Context, req *jwt.AuthorizationRequestClaims) (string, error) {
	if req.ConnectOptions.Username == ReceptionUser {
		return d.reception(req)
	}
	credential, err := uuid.Parse(req.ConnectOptions.Username)
	if err != nil || credential.String() != req.ConnectOptions.Username {
		return "", ErrUnknown
	}
	id, err := d.ledger.Identify(ctx, credential, req.ConnectOptions.Password)
	if err != nil {
		return "", err
	}
	now := time.Now()
	// Tokens tell whole seconds, and a server takes one in its last second yet.
	if !id.Expires.IsZero() && id.Expires.Unix() <= now.Unix() {
		return "", ErrUnknown
	}
	claims := d.claims(req.UserNkey, id, now)
	text, err := claims.Encode(d.key)
	if err != nil {
		return "", fmt.Errorf("natsauth: sign: %w", err)
	}
	return text, nil
}

// claims is everything that a clinic's connection may do.
func (d *Door) claims(nkey string, id Identity, now time.Time) *jwt.UserClaims {
	c := jwt.NewUserClaims(nkey)
	c.Audience = Account
	c.Name = UserName(id.Tenant, id.Credential)
	c.Pub = jwt.Permission{Allow: jwt.StringList{"clinic." + id.Tenant.String() + ".appointment.>"}}
	c.Sub = jwt.Permission{Allow: jwt.StringList{InboxPrefix(id.Tenant) + ".>", "clinic." + id.Tenant.String() + ".receipt.>"}}
	c.Limits.Subs, c.Limits.Payload, c.Limits.Data = MaxSubscriptions, MaxPayload, jwt.NoLimit
	c.AllowedConnectionTypes = jwt.StringList{jwt.ConnectionTypeStandard}
	until := now.Add(Renew)
	if !id.Expires.IsZero() && id.Expires.Before(until) {
		until = id.Expires
	}
	c.Expires = until.Unix()
	return c
}

// InboxPrefix is where a clinic's replies go. With an inbox prefix in common
// one clinic could read the receipts of another.
func InboxPrefix(id tenant.ID) string { return "_INBOX_" + id.String() }

// UserName is how a connection is listed by the server.
func UserName(id tenant.ID, credential uuid.UUID) string {
	return id.String() + "/" + credential.String()
}

// ParseUserName reads [UserName].
func ParseUserName(s string) (id tenant.ID, credential uuid.UUID, ok bool) {
	if len(s) != 73 || s[36] != '/' {
		return id, credential, false
	}
	id, err := tenant.Parse(s[:36])
	if err != nil {
		return id, credential, false
	}
	credential, err = uuid.Parse(s[37:])
	return id, credential, err == nil && credential.String() == s[37:]
}
