package api

import (
	"context"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Patients is the part of the ledger that has patients' records.
type Patients interface {
	Patients(ctx context.Context, id tenant.ID, cursor string, size int) (store.Page[store.Patient], error)
	FindPatients(ctx context.Context, id tenant.ID, q store.PatientQuery) (store.Page[store.FoundPatient], error)
	PatientByID(ctx context.Context, id tenant.ID, patient uuid.UUID) (store.Patient, error)
	PatientNumbered(ctx context.Context, id tenant.ID, external string) (store.Patient, error)
	CreatePatient(ctx context.Context, id tenant.ID, p store.Patient) (store.Patient, error)
	ChangePatient(ctx context.Context, id tenant.ID, patient uuid.UUID, seen time.Time, change func(*store.Patient)) (store.Patient, error)
	ErasePatient(ctx context.Context, id tenant.ID, patient uuid.UUID, external string, by store.Hand) (store.ErasedPatient, error)
	Consents(ctx context.Context, id tenant.ID, patient uuid.UUID) ([]store.Consent, error)
	SayConsent(ctx context.Context, id tenant.ID, patient uuid.UUID, c store.Consent) (store.Consent, error)
}

func (a *API) registerPatients() {
	db := a.config.DB
	register(a, listPatients(db))
	register(a, searchPatients(db, a.config.Phones))
	register(a, createPatient(db, a.config.Phones))
	register(a, getPatient(db))
	register(a, updatePatient(db, a.config.Phones))
	register(a, erasePatient(db))
	register(a, importPatients(db, a.config.Phones))
	register(a, exportPatients(db))
	register(a, listConsents(db))
	register(a, sayConsent(db))
}

// patientRow keeps the names of the original's columns.
type patientRow struct {
	ID              uuid.UUID  `json:"id" format:"uuid"`
	ExternalID      *string    `json:"external_id" doc:"The clinic's own number."`
	Name            string     `json:"name"`
	Phone           *string    `json:"phone" doc:"As it is dialled in Korea."`
	Email           *string    `json:"email"`
	BirthDate       *string    `json:"birth_date" format:"date"`
	Gender          *string    `json:"gender" enum:"female,male,other" nullable:"true"`
	LastVisitDate   *string    `json:"last_visit_date" format:"date"`
	LastSurgeryDate *string    `json:"last_surgery_date" format:"date"`
	MergedInto      *uuid.UUID `json:"merged_into" format:"uuid" nullable:"true" doc:"The patient that this one became."`
	CreatedAt       time.Time  `json:"created_at"`
	UpdatedAt       time.Time  `json:"updated_at"`
}

func showPatient(p store.Patient) patientRow {
	return patientRow{
		ID: p.ID, ExternalID: orNull(p.ExternalID), Name: p.Name, Phone: orNull(p.Phone.National()), Email: orNull(p.Email), BirthDate: orNull(p.BirthDate), Gender: orNull(p.Gender),
		LastVisitDate: orNull(p.LastVisit), LastSurgeryDate: orNull(p.LastSurgery), MergedInto: orNull(p.MergedInto), CreatedAt: p.Created, UpdatedAt: p.Updated,
	}
}

// onePatient is an answer with a patient. Its version is when it was changed.
func onePatient(p store.Patient, err error) (*single[patientRow], error) {
	if err != nil {
		return nil, err
	}
	return &single[patientRow]{`"` + strconv.FormatInt(p.Updated.UnixMicro(), 10) + `"`, showPatient(p)}, nil
}

// moment reads the version of a patient.
func (m Match) moment(ctx context.Context) (time.Time, error) {
	switch match := strings.TrimSpace(m.IfMatch); match {
	case "":
		return time.Time{}, newFailure(ctx, problem.New(problem.PreconditionRequired))
	case "*":
		return time.Time{}, nil
	default:
		n, err := strconv.ParseInt(strings.Trim(match, `"`), 10, 64)
		if err != nil || n <= 0 {
			return time.Time{}, newFailure(ctx, problem.New(problem.PreconditionFailed))
		}
		return time.UnixMicro(n), nil
	}
}

type listPatientsInput struct {
	Paging
	ExternalID string `query:"external_id" maxLength:"200" doc:"The clinic's own number."`
}

func listPatients(db Patients) (op operation[listPatientsInput, page[patientRow]]) {
	op.Operation = get("list-patients", "/api/patients", "List patients", "The clinic's patients, newest first; or the one with the clinic's own number.", "Patients")
	op.told = shows(func(p patientRow) uuid.UUID { return p.ID })
	op.do = func(ctx context.Context, by auth.Principal, in *listPatientsInput) (*page[patientRow], error) {
		if in.ExternalID != "" {
			p, err := db.PatientNumbered(ctx, by.Tenant, in.ExternalID)
			switch {
			case isNone(err):
				return newPage(nil, "", showPatient), nil
			case err != nil:
				return nil, err
			}
			return newPage([]store.Patient{p}, "", showPatient), nil
		}
		p, err := db.Patients(ctx, by.Tenant, in.Cursor, in.Limit)
		if err != nil {
			return nil, err
		}
		return newPage(p.Rows, p.Next, showPatient), nil
	}
	return op
}

type searchPatientsInput struct {
	Body struct {
		Phone  string `json:"phone,omitempty" maxLength:"40" doc:"The whole number."`
		Last4  string `json:"last4,omitempty" pattern:"^[0-9]{4}$" doc:"Or its last four digits."`
		Name   string `json:"name,omitempty" maxLength:"100" doc:"Part of the name. Names are sealed, and cannot be searched alone."`
		Limit  int    `json:"limit,omitempty" minimum:"1" maximum:"200" default:"50"`
		Cursor string `json:"cursor,omitempty" maxLength:"256" doc:"next_cursor of the page before."`
	}
}

// searchPatients has what it searches for in its body: proxies log addresses.
func searchPatients(db Patients, phones phone.Options) (op operation[searchPatientsInput, page[patientRow]]) {
	op.Operation = change("search-patients", post, "/api/patients/search", "Find patients by number",
		"The patients with a number, or with its last four digits. With a name, a page may have few rows, or none, and yet another after it.", "Patients")
	op.more = []problem.Slug{problem.InvalidPayload}
	op.told = shows(func(p patientRow) uuid.UUID { return p.ID })
	op.do = func(ctx context.Context, by auth.Principal, in *searchPatientsInput) (*page[patientRow], error) {
		refuse := func(pointer, code string) (*page[patientRow], error) {
			return nil, newFailure(ctx, problem.New(problem.InvalidPayload).WithErrors(problem.Field{Pointer: pointer, Code: code}))
		}
		q := store.PatientQuery{Last4: in.Body.Last4, Name: in.Body.Name, Cursor: in.Body.Cursor, Limit: in.Body.Limit}
		switch {
		case in.Body.Phone == "" && in.Body.Last4 == "":
			return refuse("/phone", "missing")
		case in.Body.Phone != "" && in.Body.Last4 != "":
			return refuse("/last4", "with-phone")
		case in.Body.Phone != "":
			var err error
			if q.Phone, err = phone.Parse(in.Body.Phone, phones); err != nil {
				return refuse("/phone", "not-a-phone-number")
			}
		}
		found, err := db.FindPatients(ctx, by.Tenant, q)
		if err != nil {
			return nil, err
		}
		list := make([]store.Patient, 0, len(found.Rows))
		for _, f := range found.Rows {
			p, err := db.PatientByID(ctx, by.Tenant, f.ID)
			if isNone(err) {
				continue // erased meanwhile
			}
			if err != nil {
				return nil, err
			}
			list = append(list, p)
		}
		return newPage(list, found.Next, showPatient), nil
	}
	return op
}

func getPatient(db Patients) (op operation[idInput, single[patientRow]]) {
	op.Operation = get("get-patient", "/api/patients/{id}", "Read a patient", "One patient. ETag names the version; send it back in If-Match.", "Patients")
	op.more = []problem.Slug{problem.NotFound}
	op.told = telling[single[patientRow]]{how: toldRead, shown: func(out *single[patientRow]) (int, []uuid.UUID) { return 1, []uuid.UUID{out.Body.ID} }}
	op.do = func(ctx context.Context, by auth.Principal, in *idInput) (*single[patientRow], error) {
		return onePatient(db.PatientByID(ctx, by.Tenant, uuid.UUID(in.ID)))
	}
	return op
}

// PatientFields are what is known of a patient; empty is nothing.
type PatientFields struct {
	ExternalID *string `json:"external_id,omitempty" maxLength:"200" doc:"The clinic's own number; its only one of it."`
	Name       *string `json:"name,omitempty" maxLength:"100"`
	Phone      *string `json:"phone,omitempty" maxLength:"40"`
	Email      *string `json:"email,omitempty" maxLength:"200"`
	BirthDate  *string `json:"birth_date,omitempty" maxLength:"10" doc:"2006-01-02, or empty."`
	Gender     *string `json:"gender,omitempty" enum:",female,male,other"`
}

// check reads the number, and says what is wrong.
func (f PatientFields) check(ctx context.Context, phones phone.Options) (number *phone.Number, err error) {
	var fields []problem.Field
	fault := func(pointer, code string) { fields = append(fields, problem.Field{Pointer: pointer, Code: code}) }
	for pointer, s := range map[string]*string{"/external_id": f.ExternalID, "/name": f.Name, "/email": f.Email} {
		if s != nil && (strings.ContainsFunc(*s, func(r rune) bool { return r < ' ' || r == 0x7f }) || !utf8.ValidString(*s)) {
			fault(pointer, "wrong-form")
		}
	}
	if f.Phone != nil {
		number = new(phone.Number)
		if *f.Phone != "" {
			if *number, err = phone.Parse(*f.Phone, phones); err != nil {
				fault("/phone", "not-a-phone-number")
			}
		}
	}
	if f.BirthDate != nil && *f.BirthDate != "" {
		if date, ok := appointment.ReadDay(*f.BirthDate); !ok || date != *f.BirthDate {
			fault("/birth_date", "not-a-date")
		}
	}
	if len(fields) == 0 {
		return number, nil
	}
	return nil, newFailure(ctx, problem.New(problem.InvalidPayload).WithErrors(fields...))
}

func (f PatientFields) put(p *store.Patient, number *phone.Number) {
	set(&p.ExternalID, f.ExternalID)
	set(&p.Name, f.Name)
	set(&p.Phone, number)
	set(&p.Email, f.Email)
	set(&p.BirthDate, f.BirthDate)
	set(&p.Gender, f.Gender)
}

type createPatientInput struct{ Body PatientFields }

func createPatient(db Patients, phones phone.Options) (op operation[createPatientInput, single[patientRow]]) {
	op.Operation = change("create-patient", post, "/api/patients", "Create a patient",
		"Whoever shares a phone with somebody is a patient of their own. With external_id, the clinic's own number, a second request is refused, and not a second patient.", "Patients")
	op.more = []problem.Slug{problem.Conflict, problem.InvalidPayload}
	op.told = changes[single[patientRow]]()
	op.do = func(ctx context.Context, by auth.Principal, in *createPatientInput) (*single[patientRow], error) {
		number, err := in.Body.check(ctx, phones)
		if err != nil {
			return nil, err
		}
		var p store.Patient
		in.Body.put(&p, number)
		if p.ExternalID == "" && p.Name == "" && p.Phone.IsZero() {
			return nil, newFailure(ctx, problem.New(problem.InvalidPayload).WithErrors(problem.Field{Pointer: "/external_id", Code: "missing"}))
		}
		return numberTaken(ctx)(onePatient(db.CreatePatient(ctx, by.Tenant, p)))
	}
	return op
}

type updatePatientInput struct {
	ID queryID `path:"id"`
	Match
	Body PatientFields
}

func updatePatient(db Patients, phones phone.Options) (op operation[updatePatientInput, single[patientRow]]) {
	op.Operation = change("update-patient", patch, "/api/patients/{id}", "Change a patient",
		"What is given replaces what is there; empty takes it away. What is planned goes to the number that the patient has when it is sent. An opt-out belongs to its number.", "Patients")
	op.more = []problem.Slug{problem.NotFound, problem.Conflict, problem.InvalidPayload, problem.PreconditionFailed, problem.PreconditionRequired}
	op.told = changes[single[patientRow]]()
	op.do = func(ctx context.Context, by auth.Principal, in *updatePatientInput) (*single[patientRow], error) {
		seen, err := in.moment(ctx)
		if err != nil {
			return nil, err
		}
		number, err := in.Body.check(ctx, phones)
		if err != nil {
			return nil, err
		}
		return numberTaken(ctx)(onePatient(db.ChangePatient(ctx, by.Tenant, uuid.UUID(in.ID), seen, func(p *store.Patient) { in.Body.put(p, number) })))
	}
	return op
}

type erasedPatient struct {
	Body struct {
		ID        uuid.UUID   `json:"id" format:"uuid"`
		Again     bool        `json:"again" doc:"It was erased already."`
		Cancelled int         `json:"cancelled" doc:"Planned messages that are not sent any more."`
		InFlight  []uuid.UUID `json:"in_flight" nullable:"false" doc:"Messages whose request may be with the gateway already: they cannot be taken back."`
	}
}

func erasePatient(db Patients) (op operation[idInput, erasedPatient]) {
	op.Operation = change("erase-patient", remove, "/api/patients/{id}", "Erase a patient",
		"Makes the patient unreadable for good: their key is destroyed, and with it names, numbers, texts and payloads. What is planned is cancelled. Ids, times, states and opt-outs stay. It cannot be taken back.", "Patients")
	op.more = []problem.Slug{problem.NotFound, problem.InvalidPayload}
	op.told = changes[erasedPatient]()
	op.do = func(ctx context.Context, by auth.Principal, in *idInput) (*erasedPatient, error) {
		e, err := db.ErasePatient(ctx, by.Tenant, uuid.UUID(in.ID), "", hand(by, in.Purpose))
		if err != nil {
			return nil, err
		}
		out := new(erasedPatient)
		out.Body.ID, out.Body.Again, out.Body.Cancelled, out.Body.InFlight = e.Patient, e.Again, e.Cancelled, append([]uuid.UUID{}, e.InFlight...)
		return out, nil
	}
	return op
}
