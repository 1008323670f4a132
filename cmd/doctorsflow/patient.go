package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

type patientCommand struct {
	Find    patientFindCommand    `cmd:"" help:"Find patients by their number, or by its last four digits."`
	OptOut  patientOptOutCommand  `cmd:"" name:"opt-out" help:"Keep messages from a patient's number; what is planned of them is cancelled."`
	OptIn   patientOptInCommand   `cmd:"" name:"opt-in" help:"Lift an opt-out, for a patient who wants messages again."`
	OptOuts patientOptOutsCommand `cmd:"" name:"opt-outs" help:"Show what stands under a patient's number."`
	Merge   patientMergeCommand   `cmd:"" help:"Make two rows of one person one; nothing is sent twice, and who said no under either is not sent to."`

	Erase patientEraseCommand `cmd:"" help:"Make a patient unreadable for good; what is planned for them is cancelled."`
}

type patientFindCommand struct {
	dataFlags
	Tenant string `help:"The clinic's slug." required:"" short:"t"`
	Phone  string `help:"The whole number, however it is spelled; - reads it from standard input, where no list of processes shows it." placeholder:"NUMBER|-"`
	Last4  string `name:"last4" help:"The number's last four digits; - reads them from standard input." placeholder:"DIGITS|-"`
	Name   string `help:"Only those with this in their name."`
	Show   bool   `help:"Print whole numbers; otherwise they are masked."`
	Limit  int    `help:"How many at most." default:"50"`
	Cursor string `help:"Where to go on, as the list before said."`
	Reason string `help:"Why you look, for the audit log: one line, nothing of the patient."`
}

// Run prints one line per patient, once the audit log has that they are shown.
func (c *patientFindCommand) Run(ctx context.Context, o output) error {
	if (c.Phone == "") == (c.Last4 == "") {
		return errors.New("give --phone or --last4, and not both")
	}
	if c.Limit < 1 || c.Limit > store.MaxPage {
		return fmt.Errorf("--limit is between 1 and %d; go on with --cursor", store.MaxPage)
	}
	if !store.ValidNote(c.Reason) {
		return fmt.Errorf("--reason is one line of at most %d letters, without long numbers", store.MaxNote)
	}
	q := store.PatientQuery{Name: c.Name, Limit: c.Limit, Cursor: c.Cursor}
	given, err := orInput(c.Phone + c.Last4)
	if err != nil {
		return err
	}
	if c.Last4 != "" {
		q.Last4 = given
	} else if q.Phone, err = phone.Parse(given, phone.Options{AllowTestBands: true, International: true}); err != nil {
		return err
	}
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		ids, err := chooseTenants(ctx, db, c.Tenant)
		if err != nil {
			return err
		}
		page, err := db.FindPatients(ctx, ids[0], q)
		switch {
		case errors.Is(err, store.ErrCursor):
			return errors.New("that is no cursor of this list; take it from the end of the list before")
		case errors.Is(err, store.ErrQuery):
			return errors.New("--last4 is four digits, such as 5678")
		case err != nil:
			return err
		}
		if err := db.Audit(ctx, ids[0], c.told(page.Rows)); err != nil {
			return err
		}
		if err := printPatients(o.out, page.Rows, c.Show); err != nil {
			return err
		}
		switch {
		case page.Next != "":
			fmt.Fprintf(o.err, "There are more: go on with --cursor %s\n", page.Next)
		case len(page.Rows) == 0:
			fmt.Fprintln(o.err, "No patient has it.")
		}
		return nil
	})
}

// told is what the audit log keeps of a search: by what, and never for which.
func (c *patientFindCommand) told(rows []store.FoundPatient) store.AuditEntry {
	by := "phone"
	if c.Last4 != "" {
		by = "last4"
	}
	e := store.AuditEntry{
		Hand: store.Hand{Note: c.Reason}, Action: "read", Subject: "patient-find",
		Detail: map[string]any{"rows": len(rows), "by": by, "name": c.Name != "", "whole_numbers": c.Show},
	}
	for _, p := range rows {
		e.Patients = append(e.Patients, p.ID)
	}
	return e
}

// orInput is s, or for - the first line of standard input.
func orInput(s string) (string, error) {
	if s != "-" {
		return s, nil
	}
	line, err := bufio.NewReader(io.LimitReader(os.Stdin, 1024)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimSpace(line), nil
}

func printPatients(w io.Writer, rows []store.FoundPatient, show bool) error {
	if len(rows) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PATIENT\tCLINIC'S NUMBER\tPHONE\tNAME")
	for _, p := range rows {
		number := p.Phone.String()
		if show {
			number = p.Phone.National()
		}
		name := orElse(p.Name, "-")
		if p.MergedInto != uuid.Nil {
			name += " (merged into " + p.MergedInto.String() + ")"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", p.ID, orElse(p.ExternalID, "-"), orElse(number, "-"), name)
	}
	return t.Flush()
}

type patientEraseCommand struct {
	dataFlags
	Tenant  string `help:"The clinic's slug." required:"" short:"t"`
	Patient string `arg:"" help:"The patient's id, or the clinic's own number of them."`
	Note    string `help:"Why, for the audit log; it must not tell of the patient."`
	Yes     bool   `help:"Do it: it cannot be taken back."`
}

// Run erases the patient.
func (c *patientEraseCommand) Run(ctx context.Context, o output) error {
	if !c.Yes {
		return errors.New("an erased patient cannot be brought back; say so with --yes")
	}
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		ids, err := chooseTenants(ctx, db, c.Tenant)
		if err != nil {
			return err
		}
		external := c.Patient
		id, err := uuid.Parse(c.Patient)
		if err == nil {
			external = ""
		}
		done, err := db.ErasePatient(ctx, ids[0], id, external, store.Hand{Actor: "cli:" + login(), Note: c.Note})
		switch {
		case errors.Is(err, store.ErrNotFound):
			return fmt.Errorf("%s has no such patient; find them with doctorsflow patient find", c.Tenant)
		case errors.Is(err, store.ErrNote):
			return errNote
		case err != nil:
			return err
		}
		if done.Again {
			fmt.Fprintln(o.out, "erased before:", done.Patient)
			return nil
		}
		fmt.Fprintf(o.out, "erased %s; %d planned messages cancelled\n", done.Patient, done.Cancelled)
		if n := len(done.Merged); n > 0 {
			fmt.Fprintf(o.out, "%d rows that had been merged into it went with it\n", n)
		}
		if done.Strays > 0 {
			fmt.Fprintf(o.out, "%d refused calls or unmatched events told of them, and cannot be read any more\n", done.Strays)
		}
		if n := len(done.InFlight); n > 0 {
			fmt.Fprintf(o.err, "%d requests were with a gateway already and may still arrive: %v\n", n, done.InFlight)
		}
		return nil
	})
}

var errNote = fmt.Errorf("the note cannot be kept: it is one line of at most %d characters, and holds no number as long as a telephone's", store.MaxNote)

type tenantEraseCommand struct {
	dataFlags
	Slug string `arg:"" help:"The clinic's slug."`
	Note string `help:"Why, for the audit log."`
	Yes  bool   `help:"Do it: it cannot be taken back."`
}

// Run erases the clinic.
func (c *tenantEraseCommand) Run(ctx context.Context, o output) error {
	if !c.Yes {
		return errors.New("an erased clinic cannot be brought back, and nothing of its patients can be read again; say so with --yes")
	}
	return withLedger(ctx, c.dataFlags, o, func(db *store.DB) error {
		ids, err := chooseTenants(ctx, db, c.Slug)
		if err != nil {
			return err
		}
		done, err := db.EraseTenant(ctx, ids[0], store.Hand{Actor: "cli:" + login(), Note: c.Note})
		if errors.Is(err, store.ErrNote) {
			return errNote
		}
		if err != nil {
			return fmt.Errorf("%w; run this again to go on", err)
		}
		fmt.Fprintf(o.out, "erased %s; %d planned messages cancelled\n", c.Slug, done.Cancelled)
		if done.InFlight > 0 {
			fmt.Fprintf(o.err, "%d requests were with a gateway already; what became of them cannot be asked any more\n", done.InFlight)
		}
		return nil
	})
}
