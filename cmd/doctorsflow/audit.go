package main

import (
	"context"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/telemetry"
)

type auditCommand struct {
	Export auditExportCommand `cmd:"" help:"Print a clinic's audit log, oldest first; that it was exported goes into it."`
}

type auditExportCommand struct {
	dataFlags
	Tenant string `help:"The clinic's slug." short:"t" required:""`
	From   string `help:"From this time on: 2026-11-01 in the clinic's zone, or RFC 3339."`
	To     string `help:"Up to but without this time."`
	Format string `help:"csv, which a spreadsheet may open, or jsonl." default:"csv" enum:"csv,jsonl"`
	Reason string `help:"Why, for the audit log: one line, nothing of a patient." required:""`
}

// Run prints the rows.
func (c *auditExportCommand) Run(ctx context.Context, o output) error {
	if !store.ValidNote(c.Reason) || strings.TrimSpace(c.Reason) == "" {
		return fmt.Errorf("--reason is one line of at most %d letters, without long numbers", store.MaxNote)
	}
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		ids, err := chooseTenants(ctx, db, c.Tenant)
		if err != nil {
			return err
		}
		zone, err := db.Zone(ctx, ids[0])
		if err != nil {
			return err
		}
		var q store.AuditQuery
		if q.From, err = dayOrTime("--from", c.From, zone); err != nil {
			return err
		}
		if q.To, err = dayOrTime("--to", c.To, zone); err != nil {
			return err
		}
		w := newAuditWriter(c.Format, o.out)
		by := store.Hand{Actor: "cli:" + login(), Note: c.Reason}
		if err := db.ExportAudit(store.ActAs(ctx, by), ids[0], q, w.row); err != nil {
			return err
		}
		return w.flush()
	})
}

// dayOrTime reads a setting that is a day of the clinic or a time.
func dayOrTime(flag, s string, zone *time.Location) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, s, zone); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("%s is a day such as 2026-11-01, or a time such as 2026-11-01T09:00:00+09:00", flag)
	}
	return t, nil
}

// auditWriter writes rows in one of the formats.
type auditWriter struct {
	row   func(store.AuditRow) error
	flush func() error
}

// auditLine is a row as scripts read it.
type auditLine struct {
	Seq       int64           `json:"seq"`
	At        time.Time       `json:"at"`
	Actor     string          `json:"actor"`
	From      string          `json:"from_addr"`
	Action    string          `json:"action"`
	Subject   string          `json:"subject"`
	SubjectID string          `json:"subject_id,omitempty"`
	Patients  []uuid.UUID     `json:"patients"`
	Purpose   string          `json:"purpose"`
	Detail    json.RawMessage `json:"detail"`
	PrevHash  string          `json:"prev_hash"`
	Hash      string          `json:"hash"`
}

func newAuditWriter(format string, to io.Writer) auditWriter {
	if format == "jsonl" {
		e := json.NewEncoder(to)
		e.SetEscapeHTML(false)
		return auditWriter{row: func(r store.AuditRow) error {
			return e.Encode(auditLine{
				Seq: r.Seq, At: r.At, Actor: r.Actor, From: r.From, Action: r.Action, Subject: r.Subject, SubjectID: idOrNone(r.SubjectID), Patients: r.Patients,
				Purpose: r.Purpose, Detail: r.Detail, PrevHash: hex.EncodeToString(r.PrevHash), Hash: hex.EncodeToString(r.Hash),
			})
		}, flush: func() error { return nil }}
	}
	w, titled := csv.NewWriter(to), false
	title := func() error {
		if titled {
			return nil
		}
		titled = true
		return w.Write([]string{"seq", "at", "actor", "from_addr", "action", "subject", "subject_id", "patients", "purpose", "detail", "prev_hash", "hash"})
	}
	return auditWriter{row: func(r store.AuditRow) error {
		patients := make([]string, len(r.Patients))
		for i, p := range r.Patients {
			patients[i] = p.String()
		}
		cells := []string{
			strconv.FormatInt(r.Seq, 10), r.At.Format(time.RFC3339Nano), r.Actor, r.From, r.Action, r.Subject, idOrNone(r.SubjectID), strings.Join(patients, " "),
			r.Purpose, string(r.Detail), hex.EncodeToString(r.PrevHash), hex.EncodeToString(r.Hash),
		}
		for i := range cells {
			cells[i] = plainCell(cells[i])
		}
		return errors.Join(title(), w.Write(cells))
	}, flush: func() error {
		err := title()
		w.Flush()
		return errors.Join(err, w.Error())
	}}
}

// plainCell keeps a spreadsheet from taking a text for a formula: those begin
// with one of these, and not with an apostrophe, which it does not show. A
// sign after leading spaces, or its wide form, is taken for one by some.
func plainCell(s string) string {
	first := strings.TrimLeft(s, " \u00a0\u3000")
	if first != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", []rune(first)[0]) {
		return "'" + s
	}
	return s
}

func idOrNone(id uuid.UUID) string {
	if id == uuid.Nil {
		return ""
	}
	return id.String()
}

type verifyCommand struct {
	dataFlags
	Tenant     string `help:"Only this clinic's; its slug." short:"t"`
	From       int64  `help:"Begin at this row; by default at the chain's beginning." default:"0"`
	ExpectHead string `name:"expect-head" help:"A head that was printed earlier and kept elsewhere: some row must still have that hash. Needs --tenant." placeholder:"HASH"`
}

// Run checks each chain and fails if anything was touched.
func (c *verifyCommand) Run(ctx context.Context, o output) error {
	expect, err := hex.DecodeString(c.ExpectHead)
	switch {
	case err != nil || c.ExpectHead != "" && len(expect) != 32:
		return errors.New("--expect-head is a hash as verify-audit prints it: 64 hexadecimal digits")
	case c.ExpectHead != "" && c.Tenant == "":
		return errors.New("a head is one clinic's: name it with --tenant")
	case c.From < 0:
		return errors.New("--from is the number of a row, 1 or more")
	}
	db, _, closeLedger, err := openLedger(ctx, c.dataFlags, false, telemetry.NewLogger(o.err, c.LogFormat, "warn"))
	if err != nil {
		return err
	}
	defer closeLedger()
	ids, err := chooseTenants(ctx, db, c.Tenant)
	if err != nil {
		return err
	}
	names := map[string]string{}
	rows, err := db.Tenants(ctx)
	if err != nil {
		return err
	}
	for _, r := range rows {
		names[r.ID.String()] = r.Slug
	}
	touched := false
	for _, id := range ids {
		v, err := db.VerifyAudit(ctx, id, c.From, expect)
		if err != nil {
			return err
		}
		touched = touched || len(v.Faults) > 0
		printVerdict(o.out, names[id.String()], v)
	}
	if touched {
		return failed{1}
	}
	return nil
}

func printVerdict(w io.Writer, clinic string, v store.AuditVerdict) {
	if len(v.Faults) == 0 {
		if v.Last == 0 {
			fmt.Fprintf(w, "%s  ✔ nothing was audited yet\n", clinic)
			return
		}
		fmt.Fprintf(w, "%s  ✔ rows %d to %d and %d sends are as they were written\n  head %x\n", clinic, v.First, v.Last, v.Sends, v.Head)
		if !v.Cut.IsZero() {
			fmt.Fprintf(w, "  rows before %d were removed as older than %s\n", v.First, v.Cut.UTC().Format(time.RFC3339))
		}
		return
	}
	fmt.Fprintf(w, "%s  ✘ TOUCHED\n", clinic)
	for _, f := range v.Faults {
		fmt.Fprintf(w, "  ✘ row %d %s\n", f.Seq, f.What)
	}
	if len(v.Faults) == store.MaxAuditFaults {
		fmt.Fprintln(w, "  … there may be more")
	}
}
