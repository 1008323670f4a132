package api

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/intake"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/roster"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

func isNone(err error) bool { return errors.Is(err, store.ErrNotFound) }

// numberTaken tells a number that is another patient's.
func numberTaken(ctx context.Context) func(*single[patientRow], error) (*single[patientRow], error) {
	return func(out *single[patientRow], err error) (*single[patientRow], error) {
		if errors.Is(err, store.ErrTaken) {
			err = newFailure(ctx, problem.New(problem.Conflict).WithDetail("Another patient of the clinic has this number. Change that one, or merge the two.").WithErrors(problem.Field{Pointer: "/external_id", Code: "taken"}))
		}
		return out, err
	}
}

type importPatientsInput struct {
	DryRun  bool   `query:"dry_run" doc:"Say what would happen to each row, and change nothing."`
	RawBody []byte `contentType:"text/csv"`
}

// importedRow is what became of a row.
type importedRow struct {
	Line     int            `json:"line" doc:"Where it begins in the file; the heading is on line 1."`
	Status   string         `json:"status" enum:"created,updated,unchanged,rejected"`
	ID       *uuid.UUID     `json:"id" format:"uuid" nullable:"true"`
	Problems []intake.Fault `json:"problems,omitempty"`
}

type importedPatients struct {
	Body struct {
		Encoding       string        `json:"encoding" enum:"utf-8,cp949"`
		IgnoredColumns []string      `json:"ignored_columns" nullable:"false"`
		Created        int           `json:"created"`
		Updated        int           `json:"updated"`
		Unchanged      int           `json:"unchanged"`
		Rejected       int           `json:"rejected"`
		Rows           []importedRow `json:"rows" nullable:"false"`
	}
}

// importPatients brings a list of patients in.
func importPatients(db Patients, phones phone.Options) (op operation[importPatientsInput, importedPatients]) {
	op.Operation = huma.Operation{
		OperationID: "import-patients", Method: http.MethodPost, Path: "/api/patients/import", Summary: "Import patients",
		Description: "A list of at most 2,000 patients as CSV, UTF-8 or CP949, with a report for each row. A patient is found by the clinic's own number (차트번호), or by name and number together, and created where there is none; columns that the list lacks are left as they are. The same list again changes nothing.",
		Tags:        []string{"Patients"}, MaxBodyBytes: maxAppointmentBody,
	}
	op.more = []problem.Slug{problem.InvalidPayload}
	op.told = changes[importedPatients]()
	op.do = func(ctx context.Context, by auth.Principal, in *importPatientsInput) (*importedPatients, error) {
		list, wrong := roster.Read(in.RawBody, phones, time.Now())
		if len(wrong) > 0 {
			var fields []problem.Field
			for _, p := range wrong {
				fields = append(fields, problem.Field{Pointer: p.Pointer, Code: p.Code})
			}
			return nil, newFailure(ctx, problem.New(problem.InvalidPayload).WithErrors(fields...))
		}
		out := new(importedPatients)
		out.Body.Encoding, out.Body.IgnoredColumns, out.Body.Rows = list.Encoding, append([]string{}, list.Ignored...), []importedRow{}
		for _, p := range list.Patients {
			r := importedRow{Line: p.Line, Status: "rejected"}
			for _, one := range p.Problems {
				r.Problems = append(r.Problems, intake.Fault(one))
			}
			if len(p.Problems) == 0 {
				var err error
				if r, err = importPatient(ctx, db, by, p, in.DryRun); err != nil {
					return nil, err // what was taken is unchanged when the list comes again
				}
			}
			switch r.Status {
			case "created":
				out.Body.Created++
			case "updated":
				out.Body.Updated++
			case "unchanged":
				out.Body.Unchanged++
			default:
				out.Body.Rejected++
			}
			out.Body.Rows = append(out.Body.Rows, r)
		}
		return out, nil
	}
	return op
}

func importPatient(ctx context.Context, db Patients, by auth.Principal, p roster.Patient, dry bool) (r importedRow, err error) {
	r.Line = p.Line
	have, code, err := rowOf(ctx, db, by, p)
	switch {
	case err != nil:
		return r, err
	case code != "":
		r.Status, r.Problems = "rejected", []intake.Fault{{Pointer: "/external_id", Code: code}}
		return r, nil
	}
	put := func(to *store.Patient) {
		if p.ExternalID != "" {
			to.ExternalID = p.ExternalID
		}
		set(&to.Name, p.Name)
		set(&to.Phone, p.Phone)
		set(&to.Email, p.Email)
		set(&to.BirthDate, p.BirthDate)
		set(&to.Gender, p.Gender)
	}
	if have == nil {
		fresh := store.Patient{}
		put(&fresh)
		if r.Status = "created"; !dry {
			fresh, err = db.CreatePatient(ctx, by.Tenant, fresh)
			r.ID = orNull(fresh.ID)
		}
		if errors.Is(err, store.ErrTaken) {
			r.Status, r.Problems, err = "rejected", []intake.Fault{{Pointer: "/external_id", Code: "taken"}}, nil
		}
		return r, err
	}
	r.ID, r.Status = &have.ID, "unchanged"
	now := *have
	if put(&now); now == *have {
		return r, nil
	}
	if r.Status = "updated"; !dry {
		_, err = db.ChangePatient(ctx, by.Tenant, have.ID, time.Time{}, put)
	}
	return r, err
}

// rowOf finds the patient of a row: by the clinic's own number, or the only one
// with its name and number. Nobody is taken for another by guess.
func rowOf(ctx context.Context, db Patients, by auth.Principal, p roster.Patient) (have *store.Patient, code string, err error) {
	if p.ExternalID != "" {
		one, err := db.PatientNumbered(ctx, by.Tenant, p.ExternalID)
		if isNone(err) {
			return nil, "", nil
		}
		if err == nil && one.MergedInto != uuid.Nil {
			return nil, "merged", nil
		}
		return &one, "", err
	}
	found, err := db.FindPatients(ctx, by.Tenant, store.PatientQuery{Phone: *p.Phone, Name: *p.Name})
	if err != nil {
		return nil, "", err
	}
	var fit []uuid.UUID
	for _, f := range found.Rows {
		if f.Name == *p.Name && f.MergedInto == uuid.Nil {
			fit = append(fit, f.ID)
		}
	}
	switch len(fit) {
	case 0:
		return nil, "", nil
	case 1:
		one, err := db.PatientByID(ctx, by.Tenant, fit[0])
		return &one, "", err
	}
	return nil, "ambiguous", nil
}

type exportPatientsInput struct {
	Limit   int    `query:"limit" minimum:"1" maximum:"100000" default:"100000" doc:"How many patients at most, the newest."`
	Purpose string `header:"X-Purpose" maxLength:"200" doc:"Why, for the audit log; one line, without names or long numbers."`
}

type exportedPatients struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Body        []byte
	patients    []uuid.UUID
}

// exportPatients gives all patients as a table.
func exportPatients(db Patients) (op operation[exportPatientsInput, exportedPatients]) {
	op.Operation = get("export-patients", "/api/patients/export", "Export patients",
		"Every patient of the clinic, at most 100,000, as CSV that import reads again: UTF-8 with a mark, for spreadsheets. Who exported is kept in the audit log.", "Patients")
	op.told = telling[exportedPatients]{how: toldRead, shown: func(out *exportedPatients) (int, []uuid.UUID) { return len(out.patients), out.patients }}
	op.answer = func(huma.Registry) *huma.Response {
		return &huma.Response{Description: "OK", Content: map[string]*huma.MediaType{"text/csv": {Schema: &huma.Schema{Type: huma.TypeString}}}}
	}
	op.do = func(ctx context.Context, by auth.Principal, in *exportPatientsInput) (*exportedPatients, error) {
		out := &exportedPatients{ContentType: "text/csv; charset=utf-8", Disposition: `attachment; filename="patients.csv"`}
		var table bytes.Buffer
		var failed error
		err := roster.Write(&table, func(yield func([]string) bool) {
			for cursor := ""; len(out.patients) < in.Limit; {
				p, err := db.Patients(ctx, by.Tenant, cursor, min(store.MaxPage, in.Limit-len(out.patients)))
				if err != nil {
					failed = err
					return
				}
				for _, one := range p.Rows {
					if one.MergedInto != uuid.Nil {
						continue
					}
					out.patients = append(out.patients, one.ID)
					if !yield([]string{one.ExternalID, one.Name, one.Phone.National(), one.Email, one.BirthDate, one.Gender, one.LastVisit, one.LastSurgery, one.Created.Format(time.DateOnly), one.ID.String()}) {
						return
					}
				}
				if cursor = p.Next; cursor == "" {
					return
				}
			}
		})
		out.Body = table.Bytes()
		return out, errors.Join(failed, err)
	}
	return op
}

type consent struct {
	ID          uuid.UUID     `json:"id" format:"uuid"`
	Channel     event.Channel `json:"channel" enum:"kakao,sms"`
	Purpose     string        `json:"purpose" enum:"care,marketing,night_marketing"`
	Granted     bool          `json:"granted"`
	Method      string        `json:"method" doc:"How it was given."`
	TextVersion string        `json:"text_version" doc:"Of what was agreed to."`
	At          time.Time     `json:"at"`
}

func showConsent(c store.Consent) consent {
	return consent{c.ID, c.Channel, c.Purpose, c.Granted, c.Method, c.TextVersion, c.At}
}

type consents struct {
	Body struct {
		Data []consent `json:"data" nullable:"false" doc:"The last word first; of each channel and purpose it holds."`
	}
	patient uuid.UUID
}

func listConsents(db Patients) (op operation[idInput, consents]) {
	op.Operation = get("list-consents", "/api/patients/{id}/consents", "List a patient's consents", "What the patient has said, yes and no, with when and how.", "Patients")
	op.more = []problem.Slug{problem.NotFound}
	op.told = telling[consents]{how: toldRead, shown: func(out *consents) (int, []uuid.UUID) { return len(out.Body.Data), []uuid.UUID{out.patient} }}
	op.do = func(ctx context.Context, by auth.Principal, in *idInput) (*consents, error) {
		list, err := db.Consents(ctx, by.Tenant, uuid.UUID(in.ID))
		if err != nil {
			return nil, err
		}
		out := &consents{patient: uuid.UUID(in.ID)}
		out.Body.Data = make([]consent, len(list))
		for i, c := range list {
			out.Body.Data[i] = showConsent(c)
		}
		return out, nil
	}
	return op
}

type sayConsentInput struct {
	ID   queryID `path:"id"`
	Body struct {
		Channel     event.Channel `json:"channel" enum:"kakao,sms"`
		Purpose     string        `json:"purpose" enum:"care,marketing,night_marketing"`
		Granted     bool          `json:"granted"`
		Method      string        `json:"method" pattern:"^[a-z][a-z0-9_-]{0,39}$" doc:"How it was given: form, phone, kakao, …"`
		TextVersion string        `json:"text_version,omitempty" pattern:"^[A-Za-z0-9._-]{0,40}$" doc:"Of what was agreed to."`
	}
}

type saidConsent struct{ Body consent }

func sayConsent(db Patients) (op operation[sayConsentInput, saidConsent]) {
	op.Operation = change("say-consent", post, "/api/patients/{id}/consents", "Keep a patient's consent",
		"Yes or no to a purpose on a channel, with how it was given. Nothing said before is changed; the last word holds, from the next claim on.", "Patients")
	op.more = []problem.Slug{problem.NotFound, problem.InvalidPayload}
	op.told = changes[saidConsent]()
	op.do = func(ctx context.Context, by auth.Principal, in *sayConsentInput) (*saidConsent, error) {
		b := in.Body
		c, err := db.SayConsent(ctx, by.Tenant, uuid.UUID(in.ID), store.Consent{Channel: b.Channel, Purpose: b.Purpose, Granted: b.Granted, Method: b.Method, TextVersion: b.TextVersion})
		if err != nil {
			return nil, err
		}
		return &saidConsent{showConsent(c)}, nil
	}
	return op
}
