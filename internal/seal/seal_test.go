package seal_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newAAD returns a place of its own.
func newAAD() seal.AAD {
	return seal.AAD{Tenant: tenant.NewID(), Table: "patients", Column: "phone", ID: uuid.Must(uuid.NewV7())}
}

func TestSealedOpensInItsPlaceOnly(t *testing.T) {
	t.Parallel()
	key, aad, plain := seal.NewKey(), newAAD(), []byte("+821000000000")
	sealed := key.Seal(plain, aad)
	if got, err := key.Open(sealed, aad); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("Open = %q, %v", got, err)
	}
	if len(sealed) != len(plain)+seal.Overhead || bytes.Contains(sealed, plain) {
		t.Errorf("sealed is %d bytes, or shows the plaintext", len(sealed))
	}
	if bytes.Equal(sealed, key.Seal(plain, aad)) {
		t.Error("sealing twice gave the same bytes")
	}

	elsewhere := map[string]func(*seal.AAD){
		"tenant": func(a *seal.AAD) { a.Tenant = tenant.NewID() },
		"table":  func(a *seal.AAD) { a.Table = "triggers" },
		"column": func(a *seal.AAD) { a.Column = "name" },
		"row":    func(a *seal.AAD) { a.ID = uuid.Must(uuid.NewV7()) },
		"border": func(a *seal.AAD) { a.Table, a.Column = "patientsp", "hone" },
		"empty":  func(a *seal.AAD) { *a = seal.AAD{} },
	}
	for name, move := range elsewhere {
		other := aad
		move(&other)
		if got, err := key.Open(sealed, other); !errors.Is(err, seal.ErrOpen) || got != nil {
			t.Errorf("opened with another %s: %q, %v", name, got, err)
		}
	}
	for name, k := range map[string]seal.Key{"another": seal.NewKey(), "zero": {}} {
		if got, err := k.Open(sealed, aad); !errors.Is(err, seal.ErrOpen) || got != nil {
			t.Errorf("opened with the %s key: %q, %v", name, got, err)
		}
	}
}

func TestEveryChangedByteIsNoticed(t *testing.T) {
	t.Parallel()
	key, aad := seal.NewKey(), newAAD()
	sealed := key.Seal([]byte("홍길동"), aad)
	for i := range sealed {
		for _, flip := range []byte{0x01, 0x80, 0xFF} {
			bad := bytes.Clone(sealed)
			bad[i] ^= flip
			if got, err := key.Open(bad, aad); !errors.Is(err, seal.ErrOpen) || got != nil {
				t.Fatalf("byte %d changed: %q, %v", i, got, err)
			}
		}
		if _, err := key.Open(sealed[:i], aad); !errors.Is(err, seal.ErrOpen) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
	for name, bad := range map[string][]byte{"nil": nil, "longer": append(bytes.Clone(sealed), 0), "shifted": sealed[1:]} {
		if _, err := key.Open(bad, aad); !errors.Is(err, seal.ErrOpen) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWrappedKeysUnwrapInTheirPlaceOnly(t *testing.T) {
	t.Parallel()
	parent, child, aad := seal.NewKey(), seal.NewKey(), newAAD()
	wrapped := seal.Wrap(parent, child, aad.Bytes())
	if got, err := seal.Unwrap(parent, wrapped, aad.Bytes()); err != nil || got != child {
		t.Fatalf("Unwrap failed: %v", err)
	}
	if len(wrapped) != seal.WrappedSize {
		t.Errorf("%d bytes, want %d", len(wrapped), seal.WrappedSize)
	}
	fail := func(name string, parent seal.Key, wrapped, aad []byte) {
		t.Helper()
		if got, err := seal.Unwrap(parent, wrapped, aad); !errors.Is(err, seal.ErrOpen) || !got.IsZero() {
			t.Errorf("unwrapped with %s: %v", name, err)
		}
	}
	for i := range wrapped {
		bad := bytes.Clone(wrapped)
		bad[i] ^= 1
		fail(fmt.Sprintf("byte %d changed", i), parent, bad, aad.Bytes())
	}
	fail("another parent", seal.NewKey(), wrapped, aad.Bytes())
	fail("the zero parent", seal.Key{}, wrapped, aad.Bytes())
	fail("another place", parent, wrapped, newAAD().Bytes())
	fail("no place", parent, wrapped, nil)
	fail("nothing wrapped", parent, nil, aad.Bytes())
	// A field is no key, though it has a key's length, nor a key a field.
	fail("a sealed field", parent, parent.Seal(child[:], aad), aad.Bytes())
	if _, err := parent.Open(wrapped, aad); !errors.Is(err, seal.ErrOpen) {
		t.Errorf("a wrapped key opened as a field: %v", err)
	}
}

func TestTheZeroKeyNeverSeals(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(){
		"seal":        func() { seal.Key{}.Seal([]byte("x"), seal.AAD{}) },
		"wrap_parent": func() { seal.Wrap(seal.Key{}, seal.NewKey(), nil) },
		"wrap_child":  func() { seal.Wrap(seal.NewKey(), seal.Key{}, nil) },
		"index":       func() { seal.BlindIndex(seal.Key{}, "f", "v") },
		"ring":        func() { seal.NewRing(seal.Key{}, 0, 0) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s with the zero key went through", name)
				}
			}()
			f()
		}()
	}
	k := seal.NewKey()
	if k.IsZero() || k == seal.NewKey() {
		t.Error("NewKey is not random")
	}
	if k.Zero(); !k.IsZero() {
		t.Error("Zero left something")
	}
}

func TestNoVerbLogOrEncodingShowsAKey(t *testing.T) {
	t.Parallel()
	k := seal.NewKey()
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%c", "%!"} {
		fmt.Fprintf(&out, verb+" "+verb+" "+verb+"\n", k, &k, struct{ Key seal.Key }{k})
	}
	fmt.Fprintln(&out, k, k.String())
	for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		slog.New(h).Info("x", "key", k, "in", struct{ Key seal.Key }{k})
	}
	b, err := json.Marshal(map[string]any{"key": k})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	for _, leak := range []string{
		hex.EncodeToString(k[:4]), strings.ToUpper(hex.EncodeToString(k[:4])), string(k[:4]),
		fmt.Sprintf("%d %d %d", k[0], k[1], k[2]), fmt.Sprintf("%d,%d,%d", k[0], k[1], k[2]),
	} {
		if strings.Contains(out.String(), leak) {
			t.Error("a key is shown")
		}
	}
}

func TestWhatIsSealedOpensAgain(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		key := seal.NewKey()
		plain := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "plain")
		places := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) seal.AAD {
			var a seal.AAD
			copy(a.Tenant[:], rapid.SliceOfN(rapid.ByteRange(0, 1), 16, 16).Draw(t, "tenant"))
			copy(a.ID[:], rapid.SliceOfN(rapid.ByteRange(0, 1), 16, 16).Draw(t, "id"))
			a.Table = rapid.StringMatching(`[ab\x01]{0,130}`).Draw(t, "table")
			a.Column = rapid.StringMatching(`[ab\x01]{0,3}`).Draw(t, "column")
			return a
		}), 2, 2).Draw(t, "places")
		sealed := key.Seal(plain, places[0])
		got, err := key.Open(sealed, places[0])
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("Open = %x, %v", got, err)
		}
		if _, err := key.Open(sealed, places[1]); (err == nil) != (places[0] == places[1]) {
			t.Fatalf("sealed at %v, opened at %v: %v", places[0], places[1], err)
		}
		if bytes.Equal(places[0].Bytes(), places[1].Bytes()) != (places[0] == places[1]) {
			t.Fatal("two places share an encoding")
		}
	})
}

func TestBlindIndexTellsEqualValuesOfOneFieldOnly(t *testing.T) {
	t.Parallel()
	key := seal.NewKey()
	x := seal.NewIndexer(key)
	a := x.Index("patients.phone", "+821000000000")
	if x.Index("patients.phone", "+821000000000") != a || seal.BlindIndex(key, "patients.phone", "+821000000000") != a {
		t.Error("equal values have different indexes")
	}
	for name, b := range map[string][seal.IndexSize]byte{
		"value":        x.Index("patients.phone", "+821000000001"),
		"empty value":  x.Index("patients.phone", ""),
		"field":        x.Index("patients.email", "+821000000000"),
		"tenant":       seal.BlindIndex(seal.NewKey(), "patients.phone", "+821000000000"),
		"moved border": x.Index("patients.phone+", "821000000000"),
	} {
		if a == b {
			t.Errorf("another %s has the same index", name)
		}
	}
}

func TestIndexerIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	x := seal.NewIndexer(seal.NewKey())
	want := x.Index("f", "v")
	done := make(chan bool)
	for i := range 8 {
		go func() {
			ok := true
			for j := range 200 {
				x.Index(fmt.Sprint("f", j%5), fmt.Sprint(i, j))
				ok = ok && x.Index("f", "v") == want
			}
			done <- ok
		}()
	}
	for range 8 {
		if !<-done {
			t.Error("concurrent calls disturb each other")
		}
	}
}

// TestVersionOneOpensForEver holds the format: bytes sealed by the first
// version are in databases and must stay readable. Add vectors for newer
// versions; never change this one.
func TestVersionOneOpensForEver(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/v1.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Master            string
		Tenant            tenant.ID
		TenantKey         string `json:"tenant_key"`
		WrappedTenantKey  string `json:"wrapped_tenant_key"`
		Patient           uuid.UUID
		PatientKey        string `json:"patient_key"`
		WrappedPatientKey string `json:"wrapped_patient_key"`
		Phone             string
		PhoneIndex        string `json:"phone_index"`
		Sealed            string `json:"sealed_phone"`
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	master, err := seal.ParseMaster(v.Master)
	if err != nil {
		t.Fatal(err)
	}
	tenantKey, err := seal.NewRing(master, 0, 0).Tenant(v.Tenant, unhex(v.WrappedTenantKey))
	if err != nil || !bytes.Equal(tenantKey[:], unhex(v.TenantKey)) {
		t.Fatalf("tenant key: %v", err)
	}
	place := seal.AAD{Tenant: v.Tenant, Table: "patients", Column: "key", ID: v.Patient}
	patientKey, err := seal.Unwrap(tenantKey, unhex(v.WrappedPatientKey), place.Bytes())
	if err != nil || !bytes.Equal(patientKey[:], unhex(v.PatientKey)) {
		t.Fatalf("patient key: %v", err)
	}
	place.Column = "phone"
	if got, err := patientKey.Open(unhex(v.Sealed), place); err != nil || string(got) != v.Phone {
		t.Errorf("phone = %q, %v", got, err)
	}
	if got := seal.BlindIndex(tenantKey, "patients.phone", v.Phone); hex.EncodeToString(got[:]) != v.PhoneIndex {
		t.Errorf("index = %x, want %s", got, v.PhoneIndex)
	}
}

// FuzzOpen checks that no bytes panic, and that nothing opens where nothing
// was sealed.
func FuzzOpen(f *testing.F) {
	key := seal.Key([]byte("0123456789abcdef0123456789ABCDEF"))
	aad := seal.AAD{Table: "patients", Column: "phone"}
	f.Add([]byte{})
	f.Add([]byte{1})
	f.Add(make([]byte, seal.Overhead))
	f.Add(make([]byte, seal.WrappedSize))
	f.Add(key.Seal(nil, aad))
	f.Add(seal.Wrap(key, key, nil))
	genuine := [][]byte{key.Seal(nil, aad), key.Seal([]byte("+821000000000"), aad)}
	for _, g := range genuine {
		f.Add(g[1:])
		f.Add(g[:len(g)-1])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		other := aad
		other.Column = "name"
		if plain, err := key.Open(b, other); !errors.Is(err, seal.ErrOpen) || plain != nil {
			t.Fatalf("%x opened where nothing was sealed", b)
		}
		if k, err := seal.Unwrap(key, b, []byte("nowhere")); !errors.Is(err, seal.ErrOpen) || !k.IsZero() {
			t.Fatalf("%x unwrapped where nothing was wrapped", b)
		}
	})
}

func BenchmarkSealOnce(b *testing.B) {
	key, aad, plain := seal.NewKey(), newAAD(), []byte("+821000000000")
	b.ReportAllocs()
	for b.Loop() {
		key.Seal(plain, aad)
	}
}

func BenchmarkSealWithCipher(b *testing.B) {
	c, aad, plain := seal.NewCipher(seal.NewKey()), newAAD(), []byte("+821000000000")
	b.ReportAllocs()
	for b.Loop() {
		c.Seal(plain, aad)
	}
}

// BenchmarkOpenPatient is what a dispatcher does per message: the tenant's key
// from the ring, the patient's unwrapped, one field opened.
func BenchmarkOpenPatient(b *testing.B) {
	ring, id, key, aad := seal.NewRing(seal.NewKey(), 0, 0), tenant.NewID(), seal.NewKey(), newAAD()
	wrapped := ring.Wrap(id, seal.NewKey())
	keys, err := ring.Keys(id, wrapped)
	if err != nil {
		b.Fatal(err)
	}
	wrappedPatient, sealed := keys.Wrap(key, aad.Bytes()), key.Seal([]byte("+821000000000"), aad)
	b.ReportAllocs()
	for b.Loop() {
		keys, err := ring.Keys(id, wrapped)
		if err != nil {
			b.Fatal(err)
		}
		k, err := keys.Unwrap(wrappedPatient, aad.Bytes())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := k.Open(sealed, aad); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIndex(b *testing.B) {
	x := seal.NewIndexer(seal.NewKey())
	b.ReportAllocs()
	for b.Loop() {
		x.Index("patients.phone", "+821000000000")
	}
}
