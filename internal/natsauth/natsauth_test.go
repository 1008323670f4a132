package natsauth

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// one is a ledger of one credential.
type one struct {
	Identity
	err error
}

func (o one) Identify(_ context.Context, id uuid.UUID, secret string) (Identity, error) {
	if o.err != nil {
		return Identity{}, o.err
	}
	if id != o.Credential || secret != "right" {
		return Identity{}, ErrUnknown
	}
	return o.Identity, nil
}

func someone() Identity {
	return Identity{Tenant: tenant.ID(uuid.Must(uuid.NewV7())), Credential: uuid.Must(uuid.NewV7())}
}

func door(t testing.TB, ledger Ledger) *Door {
	t.Helper()
	seed, _, err := NewSeed()
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(seed, ledger, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// request is what a server asks about a connection.
func request(t testing.TB, user, password string) string {
	t.Helper()
	server, err := nkeys.CreateServer()
	if err != nil {
		t.Fatal(err)
	}
	serverID, _ := server.PublicKey()
	client, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	r := jwt.NewAuthorizationRequestClaims("callout")
	r.UserNkey, _ = client.PublicKey()
	r.Server.ID = serverID
	r.ConnectOptions.Username, r.ConnectOptions.Password = user, password
	text, err := r.Encode(server)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestAClinicGetsExactlyItsOwn lists everything that a connection may do, so
// that a permission more is seen here.
func TestAClinicGetsExactlyItsOwn(t *testing.T) {
	t.Parallel()
	id := someone()
	now := time.Now()
	for name, tt := range map[string]struct {
		expires time.Time
		want    time.Time
	}{
		"never":  {time.Time{}, now.Add(Renew)},
		"later":  {now.Add(365 * 24 * time.Hour), now.Add(Renew)},
		"sooner": {now.Add(time.Minute), now.Add(time.Minute)},
	} {
		id.Expires = tt.expires
		got := door(t, nil).claims("U", id, now)
		want := jwt.User{
			UserPermissionLimits: jwt.UserPermissionLimits{
				Permissions: jwt.Permissions{
					Pub: jwt.Permission{Allow: jwt.StringList{"clinic." + id.Tenant.String() + ".appointment.>"}},
					Sub: jwt.Permission{Allow: jwt.StringList{"_INBOX_" + id.Tenant.String() + ".>", "clinic." + id.Tenant.String() + ".receipt.>"}},
				},
				Limits:                 jwt.Limits{UserLimits: jwt.UserLimits{Src: jwt.CIDRList{}}, NatsLimits: jwt.NatsLimits{Subs: 64, Data: -1, Payload: 65536}},
				AllowedConnectionTypes: jwt.StringList{"STANDARD"},
			},
		}
		if diff := cmp.Diff(want, got.User); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
		if got.Audience != "CLINICS" || got.Expires != tt.want.Unix() || got.Name != UserName(id.Tenant, id.Credential) {
			t.Errorf("%s: account %s until %d as %s", name, got.Audience, got.Expires, got.Name)
		}
	}
}

func TestEveryRefusalSaysTheSame(t *testing.T) {
	t.Parallel()
	id := someone()
	for name, tt := range map[string]struct {
		user, password string
		err            error
		admitted       bool
	}{
		"right":          {id.Credential.String(), "right", nil, true},
		"wrong_secret":   {id.Credential.String(), "wrong", nil, false},
		"no_secret":      {id.Credential.String(), "", nil, false},
		"unknown":        {uuid.NewString(), "right", nil, false},
		"no_uuid":        {"app", "right", nil, false},
		"nobody":         {"", "", nil, false},
		"other_spelling": {strings.ToUpper(id.Credential.String()), "right", nil, false},
		"braces":         {"{" + id.Credential.String() + "}", "right", nil, false},
		"ledger_is_away": {id.Credential.String(), "right", errors.New("away"), false},
	} {
		d := door(t, one{id, tt.err})
		answer, err := jwt.DecodeAuthorizationResponseClaims(string(d.Answer(t.Context(), []byte(request(t, tt.user, tt.password)))))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if answer.Issuer != d.issuer {
			t.Errorf("%s: signed by %s", name, answer.Issuer)
		}
		if tt.admitted != (answer.Jwt != "") || !tt.admitted && answer.Error != "not authorized" {
			t.Errorf("%s: token %q, error %q", name, answer.Jwt, answer.Error)
		}
	}
}

func TestWhatIsNoRequestGetsNoAnswer(t *testing.T) {
	t.Parallel()
	d := door(t, one{Identity: someone()})
	user, _ := nkeys.CreateUser()
	public, _ := user.PublicKey()
	claims := jwt.NewUserClaims(public)
	account, _ := nkeys.CreateAccount()
	foreign, err := claims.Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	good := request(t, "x", "y")
	for name, text := range map[string]string{
		"empty": "", "text": "hello", "cut": good[:len(good)-9], "other_token": foreign, "twice": good + good,
		"none_algorithm": "eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.e30.",
	} {
		if got := d.Answer(t.Context(), []byte(text)); got != nil {
			t.Errorf("%s: answered %q", name, got)
		}
	}
}

func TestOnlyAnAccountSeedSigns(t *testing.T) {
	t.Parallel()
	user, _ := nkeys.CreateUser()
	userSeed, _ := user.Seed()
	_, issuer, err := NewSeed()
	if err != nil {
		t.Fatal(err)
	}
	for _, seed := range []string{"", "SA", "changeme", string(userSeed), issuer} {
		if _, err := New(seed, nil, nil); err == nil || !strings.Contains(err.Error(), "doctorsflow tenant nats-creds issuer") || seed != "" && strings.Contains(err.Error(), seed+" ") {
			t.Errorf("New(%d letters) = %v, want the command that makes a seed", len(seed), err)
		}
	}
}

func FuzzUserName(f *testing.F) {
	id := someone()
	f.Add(UserName(id.Tenant, id.Credential))
	f.Add("app")
	f.Add(strings.Repeat("0", 36) + "/" + strings.Repeat("0", 36))
	f.Fuzz(func(t *testing.T, s string) {
		if id, credential, ok := ParseUserName(s); ok && UserName(id, credential) != s {
			t.Errorf("%q is read as %s", s, UserName(id, credential))
		}
	})
}

func FuzzAnswer(f *testing.F) {
	d := door(f, one{Identity: someone()})
	f.Add([]byte(request(f, "x", "y")))
	f.Add([]byte("eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.e30.AA"))
	f.Fuzz(func(t *testing.T, request []byte) {
		if text := d.Answer(context.Background(), request); text != nil {
			if a, err := jwt.DecodeAuthorizationResponseClaims(string(text)); err != nil || a.Jwt != "" {
				t.Errorf("a stranger's request is answered with %s, %v", text, err)
			}
		}
	})
}
