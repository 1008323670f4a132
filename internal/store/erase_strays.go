package store

import (
	"bytes"
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// strayKinds are the texts that belong to no patient: what was refused, and
// what named nobody, or more than one. A pending event is left to the planner,
// which gives it to somebody or ignores it.
var strayKinds = []struct{ table, page, destroy string }{
	{
		"webhook_executions",
		`SELECT id, payload, payload_key FROM webhook_executions WHERE tenant_id = $1 AND id > $2 AND payload_key IS NOT NULL ORDER BY id LIMIT 500`,
		`UPDATE webhook_executions SET payload_key = NULL, payload = NULL WHERE tenant_id = $1 AND id = ANY ($2)`,
	},
	{
		"triggers",
		`SELECT id, payload, payload_key FROM triggers WHERE tenant_id = $1 AND id > $2 AND state = 'ignored' AND patient_id IS NULL AND payload_key IS NOT NULL ORDER BY id LIMIT 500`,
		`UPDATE triggers SET payload_key = NULL WHERE tenant_id = $1 AND id = ANY ($2) AND patient_id IS NULL`,
	},
}

const selectTraits = `
SELECT f.id, coalesce(f.external_id, ''), f.data_key, f.name, f.phone
FROM   patients p
JOIN   patients o ON o.tenant_id = p.tenant_id AND o.id = coalesce(p.merged_into, p.id)
JOIN   patients f ON f.tenant_id = o.tenant_id AND (f.id = o.id OR f.merged_into = o.id)
WHERE  p.tenant_id = $1 AND (p.id = $2 OR p.external_id = $3) AND f.erased_at IS NULL
ORDER  BY f.id <> o.id, f.id`

// strays are a clinic's texts of nobody, looked through for one patient.
type strays struct {
	db     *DB
	id     tenant.ID
	family []uuid.UUID  // the patient's rows, as familyOf has them
	traits []traits     // of each
	seen   [2]uuid.UUID // the last row of each kind
}

// strays reads what a patient is known by, in every row. An erased one is known
// by nothing.
func (db *DB) strays(ctx context.Context, id tenant.ID, patient uuid.UUID, external string) (*strays, error) {
	s := &strays{db: db, id: id}
	err := db.inTenant(ctx, id, func(tx pgx.Tx) error {
		keys, err := db.tenantKey(ctx, tx, id)
		if err != nil {
			return err
		}
		// Who is not there is judged by whoever erases.
		rows, err := tx.Query(ctx, selectTraits, id, nullID(patient), nullText(external))
		if err != nil {
			return err
		}
		var wrapped, name, number []byte
		var own uuid.UUID
		var theirs string
		_, err = pgx.ForEachRow(rows, []any{&own, &theirs, &wrapped, &name, &number}, func() error {
			key, err := keys.Unwrap(wrapped, patientKeyAAD(id, own))
			if err != nil {
				return err
			}
			called, err := openText(key, name, column(id, "patients", "name", own))
			if err != nil {
				return err
			}
			e164, err := openText(key, number, column(id, "patients", "phone", own))
			if t := traitsOf(called, theirs, e164); !t.none() {
				s.traits = append(s.traits, t)
			}
			s.family = append(s.family, own)
			return err
		})
		return err
	})
	return s, err
}

// destroy destroys the keys of the texts that tell of the patient, among those
// that it has not looked through yet.
func (s *strays) destroy(ctx context.Context) (n int, err error) {
	if len(s.traits) == 0 {
		return 0, nil
	}
	for i, kind := range strayKinds {
		for more := true; more; {
			err := s.db.inTenant(ctx, s.id, func(tx pgx.Tx) error {
				keys, err := s.db.tenantKey(ctx, tx, s.id)
				if err != nil {
					return err
				}
				rows, err := tx.Query(ctx, kind.page, s.id, s.seen[i])
				if err != nil {
					return err
				}
				var found []uuid.UUID
				var row uuid.UUID
				var sealed, wrapped []byte
				last, read := s.seen[i], 0
				if _, err := pgx.ForEachRow(rows, []any{&row, &sealed, &wrapped}, func() error {
					read, last = read+1, row
					if text, ok := openStray(keys, s.id, kind.table, row, sealed, wrapped); ok && slices.ContainsFunc(s.traits, func(t traits) bool { return t.in(text) }) {
						found = append(found, row)
					}
					return nil
				}); err != nil {
					return err
				}
				if len(found) > 0 {
					if _, err := tx.Exec(ctx, kind.destroy, s.id, found); err != nil {
						return err
					}
				}
				s.seen[i], more, n = last, read > 0, n+len(found)
				return nil
			})
			if err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// openStray opens a text; ok is false for one that no key of the clinic opens.
func openStray(keys *seal.TenantKeys, id tenant.ID, table string, row uuid.UUID, sealed, wrapped []byte) (text []byte, ok bool) {
	key, err := keys.Unwrap(wrapped, payloadKeyAAD(id, table, row))
	if err != nil {
		return nil, false
	}
	text, err = key.Open(sealed, column(id, table, "payload", row))
	return text, err == nil
}

// traits are what a text is searched for.
type traits struct {
	texts  []string // names and numbers of the clinic's, as they are
	digits string   // the telephone number without its first zero
}

func traitsOf(name, external, e164 string) (t traits) {
	for _, s := range []string{name, external} {
		if s != "" {
			t.texts = append(t.texts, s)
		}
	}
	if n, err := phone.FromE164(e164); err == nil && !n.IsZero() {
		t.digits = strings.TrimPrefix(digitsOf(n.National()), "0")
	}
	return t
}

func (t traits) none() bool { return len(t.texts) == 0 && t.digits == "" }

// in reports whether a text has one of them, written out or as JSON escapes;
// a number with whatever stands between its digits.
func (t traits) in(text []byte) bool {
	plain := escape.ReplaceAllFunc(text, unescape)
	for _, s := range t.texts {
		if hasWord(plain, []byte(s)) {
			return true
		}
	}
	return t.digits != "" && strings.Contains(digitsOf(string(plain)), t.digits)
}

// hasWord reports whether text has word with no Latin letter or digit beside it:
// the clinic's number 17 is not in 2017. A Korean particle may follow a name.
func hasWord(text, word []byte) bool {
	for from := 0; ; {
		at := bytes.Index(text[from:], word)
		if at < 0 {
			return false
		}
		begin := from + at
		end := begin + len(word)
		if (begin == 0 || !wordByte(text[begin-1])) && (end == len(text) || !wordByte(text[end])) {
			return true
		}
		from = begin + 1
	}
}

func wordByte(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

func digitsOf(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '0' && r <= '9':
			return r
		case r >= '０' && r <= '９': // full width
			return r - '０' + '0'
		}
		return -1
	}, s)
}

// escape is a run of JSON's escapes of UTF-16.
var escape = regexp.MustCompile(`(\\u[0-9a-fA-F]{4})+`)

func unescape(b []byte) []byte {
	units := make([]uint16, 0, len(b)/6)
	for i := 2; i+4 <= len(b); i += 6 {
		u, err := strconv.ParseUint(string(b[i:i+4]), 16, 16)
		if err != nil {
			return b // the expression has seen that it is one
		}
		units = append(units, uint16(u))
	}
	return []byte(string(utf16.Decode(units)))
}
