package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/storetest"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// canaries finds planted words in anything, however they are spelled.
type canaries struct {
	starts map[uint64][]canary // by the first eight bytes of a spelling
	filter [1 << 16]bool       // the first two
	words  int
}

type canary struct {
	bytes         []byte
	word, spelled string
}

func newCanaries() *canaries { return &canaries{starts: map[uint64][]canary{}} }

func (c *canaries) add(word, spelled string, b []byte) {
	k := binary.LittleEndian.Uint64(b)
	c.starts[k] = append(c.starts[k], canary{b, word, spelled})
	c.filter[binary.LittleEndian.Uint16(b)] = true
}

// plant takes a word of ten bytes or more, and every spelling of it.
func (c *canaries) plant(word string) string {
	c.words++
	raw := []byte(word)
	c.add(word, "raw", raw)
	c.add(word, "hex", []byte(hex.EncodeToString(raw)))
	c.add(word, "HEX", []byte(strings.ToUpper(hex.EncodeToString(raw))))
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for at := range 3 {
			// What neighbours have no part in.
			text := e.EncodeToString(append(make([]byte, at), raw...))
			c.add(word, "base64", []byte(text[[]int{0, 2, 3}[at]:(at+len(raw))*8/6]))
		}
	}
	var little, big []byte
	for _, u := range utf16.Encode([]rune(word)) {
		little, big = binary.LittleEndian.AppendUint16(little, u), binary.BigEndian.AppendUint16(big, u)
	}
	c.add(word, "UTF-16", little)
	c.add(word, "UTF-16", big)
	if escaped := url.QueryEscape(word); escaped != word {
		c.add(word, "URL", []byte(escaped))
		c.add(word, "URL", []byte(strings.ToLower(escaped)))
	}
	var all strings.Builder
	for _, b := range raw {
		fmt.Fprintf(&all, "%%%02X", b)
	}
	c.add(word, "URL", []byte(all.String()))
	return word
}

// in returns what is found in b.
func (c *canaries) in(b []byte) (found []canary) {
	for i := 0; i+8 <= len(b); i++ {
		if !c.filter[binary.LittleEndian.Uint16(b[i:])] {
			continue
		}
		for _, f := range c.starts[binary.LittleEndian.Uint64(b[i:])] {
			if bytes.HasPrefix(b[i:], f.bytes) {
				found = append(found, f)
			}
		}
	}
	return found
}

// none fails where something is found.
func (c *canaries) none(t testing.TB, where string, b []byte) {
	t.Helper()
	if found := c.in(b); len(found) > 0 {
		t.Errorf("%s: %d planted words, the first %q as %s", where, len(found), found[0].word, found[0].spelled)
	}
}

func (c *canaries) nowhereBelow(t testing.TB, dir string) (size int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		// A file of a running database may go while we look.
		if errors.Is(err, fs.ErrNotExist) || err == nil && !d.Type().IsRegular() {
			return nil
		}
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		size += len(b)
		c.none(t, path, b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}

func TestCanariesAreFoundHoweverTheyAreSpelled(t *testing.T) {
	t.Parallel()
	c := newCanaries()
	word := c.plant("홍길동QZXJKVWPBM")
	for name, b := range map[string][]byte{
		"raw": []byte(word), "hex": []byte(hex.EncodeToString([]byte(word))), "base64": []byte(base64.StdEncoding.EncodeToString([]byte("a" + word))),
		"base64_in": []byte(base64.StdEncoding.EncodeToString([]byte("to " + word + "!"))), "base64_on": []byte(base64.URLEncoding.EncodeToString([]byte("xy" + word + "zz"))),
		"url": []byte(url.QueryEscape(word)), "path": []byte(url.PathEscape(word)),
	} {
		if got := c.in(append([]byte("before "), append(b, " after"...)...)); len(got) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
	if got := c.in([]byte("홍길동QZXJKVWPB and something else")); len(got) != 0 {
		t.Errorf("found %v where nothing is", got)
	}
}

const canaryClinic = `
tenant: {slug: canary, name: 미소치과}
accounts:
  - {channel: kakao, vendor: simulator, sender: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, rate_per_second: 2000}
  - {channel: sms, vendor: simulator, sender: "15880000", rate_per_second: 2000}
templates:
  - {name: care, kakao_template_code: SIM_OK, kakao_text: "#{환자명}님 #{메모}", sms_text: "#{환자명}님 #{메모}"}
workflows:
  - name: aftercare
    ignore_quiet_hours: true
    steps: [{seconds: 0, template: care, variables: {메모: /visit/note}}, {hours: 48, template: care, variables: {메모: /visit/note}}]
webhooks:
  - {name: visits, workflow: aftercare}
patients:
`

// canaryNumber is one of nobody's, and a planted word.
func (c *canaries) number(band string) string {
	digits := fmt.Sprintf("%s%0*d", band, 11-len(band), rand.IntN(pow10(11-len(band))))
	c.plant(digits[1:])
	c.plant(digits[:3] + "-" + digits[3:7] + "-" + digits[7:])
	c.words--
	return digits
}

func pow10(n int) int {
	p := 1
	for range n {
		p *= 10
	}
	return p
}

func (c *canaries) word(prefix string) string {
	var b strings.Builder
	for range 14 {
		b.WriteByte("ABCDEFGHJKMNPQRSTVWXYZ23456789"[rand.IntN(30)])
	}
	return c.plant(prefix + b.String())
}

// TestNothingOfPatientsLiesAbout plants a thousand words by every way in, lets
// messages go out, and looks for them in everything that is written; rotates
// every key meanwhile; and erases, after which no key opens anything.
func TestNothingOfPatientsLiesAbout(t *testing.T) {
	data, err := dataDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeData(t, data) })
	p := start(t, data, "--log-level", "debug", "--poll-every", "200ms")
	c := newCanaries()

	file := canaryClinic
	var numbers []string
	for n := range 25 {
		numbers = append(numbers, c.number("0101"))
		file += fmt.Sprintf("  - {external_id: \"F-%d\", name: %s, phone: %q, email: %q}\n", n, c.word("김"), numbers[n], c.word("m")+"@example.com")
	}
	hook := applied(t, file, "--data", data)
	apiKey := strings.TrimSpace(command(t, "tenant", "key", "canary", "--data", data, "--role", "owner"))
	where, err := readRunning(data)
	if err != nil {
		t.Fatal(err)
	}
	visit := func(n int, number string) []byte {
		return fmt.Appendf(nil, `{"type":"visit","patient":{"external_id":"P-%d","name":%q,"phone":%q},"visit":{"note":%q,"memo":[%q]}}`,
			n, c.word("이"), number, c.word("메모"), c.word(""))
	}
	for n := range 225 {
		number := c.number("0101")
		if n%10 == 0 {
			number = c.number("0100019") // falls back to a text
		}
		if status, _ := hook.post(t.Context(), p.http, fmt.Sprint("visit-", n), visit(n, number)); status != http.StatusAccepted {
			t.Fatalf("call %d: %d", n, status)
		}
	}
	// What is refused: not JSON, no patient, a number that is none, no
	// signature, too large; and answers of the API.
	for n, body := range []string{
		`{"patient":` + c.word(""), `{"note":"` + c.word("") + `"}`, `{"patient":{"phone":"02-` + c.word("") + `"}}`,
		`{"patient":{"name":"` + c.word("") + `","name":"` + c.word("") + `"}}`, `["` + c.word("") + `"]`,
		`{"patient":{"name":"` + c.word("") + strings.Repeat("x", 70<<10) + `"}}`,
	} {
		hook.post(t.Context(), p.http, fmt.Sprint("bad-", n), []byte(body))
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.http+hook.url[strings.Index(hook.url, "/api/"):], strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		c.answered(t, req)
	}
	if c.words < 1000 {
		t.Fatalf("only %d words are planted", c.words)
	}
	get := func(path string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.http+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+apiKey)
		return c.answered(t, req)
	}
	db := openRunning(t, data)
	waitSent(t, db)
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/api/message-logs/" + c.word(""), "/api/message-logs?status=" + c.word(""), "/api/patients?phone=" + numbers[0]} {
		get(path)
	}

	super := superuser(t, data, where.APIURL)
	look := func(when string) {
		t.Helper()
		super.Exec(t, `CHECKPOINT`)
		var tables string
		super.Scan(t, `SELECT string_agg(c.relname, ' ') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind = 'r'`, nil, &tables)
		for table := range strings.FieldsSeq(tables) {
			var rows string
			super.Scan(t, `SELECT coalesce(string_agg(r::text, E'\n'), '') FROM `+table+` r`, nil, &rows)
			c.none(t, when+": table "+table, []byte(rows))
		}
		var dir string
		super.Scan(t, `SELECT current_setting('data_directory')`, nil, &dir)
		size := c.nowhereBelow(t, data)
		if !strings.HasPrefix(dir, data) {
			size += c.nowhereBelow(t, dir)
		}
		if size < 20<<20 {
			t.Errorf("%s: only %d bytes on disk were looked at", when, size)
		}
	}
	look("before erasure")

	// Keys rotate under the running process, which goes on.
	before, err := seal.LoadMaster(filepath.Join(data, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	command(t, "keys", "rotate-tenant", "canary", "--data", data)
	// A rotation that was killed before it wrapped anything is finished first.
	if err := errors.Join(seal.ReplaceMaster(filepath.Join(data, "master.key.previous"), before), seal.ReplaceMaster(filepath.Join(data, "master.key"), seal.NewKey())); err != nil {
		t.Fatal(err)
	}
	fresh := filepath.Join(t.TempDir(), "new.key")
	command(t, "keys", "rotate-master", "--data", data, "--new-file", fresh)
	if again := command(t, "keys", "rotate-master", "--data", data, "--new-file", fresh); !strings.Contains(again, "the master key is that of") {
		t.Errorf("once more: %s", again)
	}
	after, err := seal.LoadMaster(filepath.Join(data, "master.key"))
	if err != nil || after == before {
		t.Fatalf("the master key is as before, or %v", err)
	}
	if _, err := store.Open(t.Context(), store.Config{APIURL: where.APIURL, WorkerURL: where.WorkerURL, Master: before}); err == nil || !strings.Contains(err.Error(), "not the master key") {
		t.Errorf("the old master key: %v", err)
	}
	number := c.number("0101")
	for deadline := time.Now().Add(10 * time.Second); ; {
		status, _ := hook.post(t.Context(), p.http, "after-rotation", visit(9000, number))
		if status == http.StatusAccepted {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after rotation: %d\n%s", status, p.log)
		}
		wait(t.Context(), 100*time.Millisecond)
	}
	waitSent(t, db)
	if out := command(t, "patient", "find", "--data", data, "--tenant", "canary", "--phone", "+82 "+number[1:3]+" "+number[3:7]+" "+number[7:]); !strings.Contains(out, "P-9000") || strings.Contains(out, number) {
		t.Errorf("found, or shown: %s", out)
	}
	if out := command(t, "patient", "find", "--data", data, "--tenant", "canary", "--last4", number[7:], "--show"); !strings.Contains(out, number) {
		t.Errorf("not shown: %s", out)
	}

	// Erased: first one, then all.
	if out := command(t, "patient", "erase", "P-9000", "--yes", "--data", data, "--tenant", "canary"); !strings.Contains(out, "1 planned messages cancelled") {
		t.Errorf("erase: %s", out)
	}
	var left int
	super.Scan(t, `SELECT count(*) FROM patients p WHERE p.erased_at IS NOT NULL AND num_nonnulls(data_key, name, phone, phone_index, phone_last4_index, email, birth_date) > 0`, nil, &left)
	if left != 0 {
		t.Error("the erased patient's row holds something")
	}
	begin := time.Now()
	command(t, "tenant", "erase", "canary", "--yes", "--data", data)
	if took := time.Since(begin); took > time.Minute {
		t.Errorf("erasing the clinic took %v", took)
	}
	for deadline := begin.Add(6 * time.Second); get("/api/message-logs?limit=1") != http.StatusUnauthorized; {
		if time.Now().After(deadline) {
			t.Fatal("an erased clinic's API key is good after 5 s")
		}
		wait(t.Context(), 100*time.Millisecond)
	}
	if status, _ := hook.post(t.Context(), p.http, "late", visit(9001, c.number("0101"))); status != http.StatusUnauthorized {
		t.Errorf("an erased clinic's webhook answers %d", status)
	}
	nothingOpens(t, super, before, after)
	look("after erasure")
	command(t, "conserve", "--data", data)
	p.stop()
	c.none(t, "the log", p.log.Bytes())
	// What was stopped starts with the new key alone.
	p = start(t, data)
	p.stop()
}

// answered makes a request and looks into its answer, unless it is to show
// the caller's own messages.
func (c *canaries) answered(t testing.TB, req *http.Request) (status int) {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || req.URL.Path != "/api/message-logs" {
		c.none(t, "the answer to "+req.Method+" "+req.URL.Path, b)
	}
	return res.StatusCode
}

// waitSent waits until whatever is due was sent.
func waitSent(t testing.TB, db *store.DB) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; {
		list, err := db.Conserve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// Each run has one step for later.
		if l := list[0]; l.PendingTriggers == 0 && l.Pending <= l.Runs && l.Steps-l.Pending >= l.Runs {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not everything was sent: %+v", list)
		}
		wait(t.Context(), 100*time.Millisecond)
	}
}

// superuser is the way in that only whoever owns the data folder has.
func superuser(t testing.TB, data, like string) storetest.URLs {
	t.Helper()
	password, err := os.ReadFile(filepath.Join(data, "postgres.password"))
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(like)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if q.Has("user") {
		q.Set("user", "postgres")
		q.Set("password", strings.TrimSpace(string(password)))
		u.RawQuery = q.Encode()
	} else {
		u.User = url.UserPassword("postgres", strings.TrimSpace(string(password)))
	}
	return storetest.URLs{Super: u.String()}
}

// nothingOpens tries the master keys, and whatever key they open, on every
// value of every column that can hold sealed bytes.
func nothingOpens(t testing.TB, super storetest.URLs, masters ...seal.Key) {
	t.Helper()
	var keys int
	super.Scan(t, `SELECT count(*) FROM tenants WHERE data_key IS NOT NULL`, nil, &keys)
	if keys != 0 {
		t.Errorf("%d clinics have a key", keys)
	}
	var columns, id string
	super.Scan(t, `SELECT string_agg(table_name || '.' || column_name, ' ') FROM information_schema.columns
		WHERE table_schema = 'public' AND data_type = 'bytea' AND table_name NOT LIKE 'message_logs'`, nil, &columns)
	super.Scan(t, `SELECT id::text FROM tenants`, nil, &id)
	tenantID, err := tenant.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(columns) {
		table, column, _ := strings.Cut(name, ".")
		var all [][]byte
		super.Scan(t, `SELECT coalesce(array_agg(DISTINCT `+column+`), '{}') FROM `+table, nil, &all)
		for _, b := range all {
			for _, m := range masters {
				if _, _, err := seal.NewRing(m, 0, 0).Set(tenantID, b); err == nil {
					t.Errorf("%s holds a key that opens", name)
				}
			}
		}
	}
}
