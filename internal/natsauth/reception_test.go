package natsauth

import (
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/jwt/v2"
)

// The reception may publish to nothing but receipts and what was just asked.
func TestTheReceptionGetsExactlyWhatItNeeds(t *testing.T) {
	t.Parallel()
	seed, _, err := NewSeed()
	if err != nil {
		t.Fatal(err)
	}
	// Two copies that share nothing but the seed.
	password, err := ReceptionPassword(seed)
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(seed, one{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	claims := answered(t, d, ReceptionUser, password)
	if claims == nil {
		t.Fatal("it is refused")
	}
	want := jwt.Permissions{
		Sub:  jwt.Permission{Allow: jwt.StringList{"clinic.*.appointment.*"}},
		Pub:  jwt.Permission{Allow: jwt.StringList{"clinic.*.receipt.*"}},
		Resp: &jwt.ResponsePermission{MaxMsgs: 1, Expires: answerWithin},
	}
	if diff := cmp.Diff(want, claims.Permissions); diff != "" || claims.Audience != Account || claims.Name != ReceptionUser {
		t.Errorf("%s of %s (-want +got):\n%s", claims.Name, claims.Audience, diff)
	}
	if _, _, ok := ParseUserName(claims.Name); ok {
		t.Error("it is taken for a clinic's connection")
	}
}

func TestNobodyElseIsTheReception(t *testing.T) {
	t.Parallel()
	d, other := door(t, one{}), door(t, one{})
	foreign, err := ReceptionPassword(other.seed)
	if err != nil {
		t.Fatal(err)
	}
	for _, password := range []string{"", "right", foreign, d.seed} {
		if answered(t, d, ReceptionUser, password) != nil {
			t.Errorf("%q lets somebody in", password)
		}
	}
	if _, err := ReceptionPassword("not a seed"); err == nil {
		t.Error("a password is made of no seed")
	}
}

// answered is the user that a door answers with, nil where it refuses.
func answered(t *testing.T, d *Door, user, password string) *jwt.UserClaims {
	t.Helper()
	out, err := jwt.DecodeAuthorizationResponseClaims(string(d.Answer(t.Context(), []byte(request(t, user, password)))))
	if err != nil {
		t.Fatal(err)
	}
	if out.Jwt == "" {
		return nil
	}
	claims, err := jwt.DecodeUserClaims(out.Jwt)
	if err != nil {
		t.Fatal(err)
	}
	return claims
}
