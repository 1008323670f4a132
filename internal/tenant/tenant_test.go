package tenant_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

const canonical = "01890a5d-ac96-774b-bcce-b302099a8057"

func TestOneTenantHasOneSpelling(t *testing.T) {
	t.Parallel()
	id, err := tenant.Parse(canonical)
	if err != nil || id.String() != canonical {
		t.Fatalf("Parse(%s) = %v, %v", canonical, id, err)
	}
	for _, s := range []string{
		"", " ", "x", strings.ToUpper(canonical), "{" + canonical + "}", "urn:uuid:" + canonical,
		strings.ReplaceAll(canonical, "-", ""), canonical + " ", " " + canonical, canonical[:35], canonical + "0",
		"*", ">", canonical[:8] + "." + canonical[9:],
	} {
		if got, err := tenant.Parse(s); err == nil || !got.IsZero() {
			t.Errorf("Parse(%q) = %v, %v; want an error and no tenant", s, got, err)
		}
	}
}

func TestIDSurvivesJSONAndRefusesOtherSpellings(t *testing.T) {
	t.Parallel()
	want := tenant.NewID()
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got tenant.ID
	if err := json.Unmarshal(b, &got); err != nil || got != want {
		t.Errorf("JSON round trip of %v = %v, %v", want, got, err)
	}
	for _, b := range []string{`""`, `1`, `"{` + canonical + `}"`, `"` + strings.ToUpper(canonical) + `"`} {
		if err := json.Unmarshal([]byte(b), &got); err == nil {
			t.Errorf("%s was read as %v", b, got)
		}
	}
}

func TestZeroIsNoTenantAndNewIDsDiffer(t *testing.T) {
	t.Parallel()
	if !(tenant.ID{}).IsZero() {
		t.Error("the zero ID is a tenant")
	}
	a, b := tenant.NewID(), tenant.NewID()
	if a.IsZero() || a == b {
		t.Errorf("NewID returned %v, then %v", a, b)
	}
	if a.String()[14] != '7' {
		t.Errorf("%v is not a UUIDv7", a)
	}
}
