package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/segment"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Patient is a patient's record, opened for their clinic.
type Patient struct {
	ID          uuid.UUID
	ExternalID  string
	Name        string
	Phone       phone.Number // zero: none
	Email       string
	BirthDate   string // 2006-01-02
	Gender      string // female, male, other
	LastVisit   string // 2006-01-02
	LastSurgery string
	MergedInto  uuid.UUID
	Created     time.Time
	Updated     time.Time
}

// Consent is what a patient has said of a kind of message on a channel: the last
// word on each holds.
type Consent struct {
	ID          uuid.UUID
	Channel     event.Channel
	Purpose     string // care, marketing, night_marketing
	Granted     bool
	Method      string // how it was given: form, phone, kakao
	TextVersion string // of what was agreed to
	At          time.Time
}

const patientColumns = `
       p.id, coalesce(p.external_id, ''), p.data_key, p.name, p.phone, p.email, p.birth_date, coalesce(p.gender, ''),
       coalesce(p.last_visit_date::text, ''), coalesce(p.last_surgery_date::text, ''), p.merged_into, p.created_at, p.updated_at
FROM   patients p`

const selectPatientRecords = `
SELECT ` + patientColumns + `
WHERE  p.tenant_id = $1 AND p.erased_at IS NULL AND ($2::uuid IS NULL OR p.id < $2)
ORDER  BY p.id DESC LIMIT $3`

const selectPatientRecord = `SELECT ` + patientColumns + ` WHERE p.tenant_id = $1 AND p.id = $2 AND p.erased_at IS NULL`

const selectPatientNumbered = `SELECT p.id FROM patients p WHERE p.tenant_id = $1 AND p.external_id = $2 AND p.erased_at IS NULL`

const insertPatientRecord = `
INSERT INTO patients (tenant_id, id, external_id, data_key, name, phone, phone_index, phone_last4_index, email, birth_date, birthday, gender, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, (SELECT app_now()), (SELECT app_now()))`

const updatePatientRecord = `
UPDATE patients
SET    external_id = $3, name = $4, phone = $5, phone_index = $6, phone_last4_index = $7, email = $8, birth_date = $9, birthday = $10, gender = $11, updated_at = (SELECT app_now())
WHERE  tenant_id = $1 AND id = $2`

const recordCursor = "cursor.patient_records"

// Patients returns one page of a clinic's patients, newest first. Errors wrap
// [ErrCursor] or [ErrUnavailable].
func (db *DB) Patients(ctx context.Context, id tenant.ID, cursor string, size int) (page Page[Patient], err error) {
	page, err = pageByID(ctx, db, id, recordCursor, cursor, size, selectPatientRecords, func(row pgx.CollectableRow, v viewer) (Patient, error) {
		p, _, err := scanPatient(row, id, v)
		return p, err
	}, func(p Patient) uuid.UUID { return p.ID })
	return page, wrapped("store: patients", err)
}

func scanPatient(row pgx.CollectableRow, id tenant.ID, v viewer) (p Patient, key seal.Key, err error) {
	var sealed, name, number, email, birth []byte
	var into *uuid.UUID
	if err := row.Scan(&p.ID, &p.ExternalID, &sealed, &name, &number, &email, &birth, &p.Gender, &p.LastVisit, &p.LastSurgery, &into, &p.Created, &p.Updated); err != nil {
		return p, key, err
	}
	p.MergedInto, p.Created, p.Updated = orNil(into), p.Created.In(v.zone), p.Updated.In(v.zone)
	if key, err = v.keys.Unwrap(sealed, patientKeyAAD(id, p.ID)); err != nil {
		return p, key, err
	}
	e164 := ""
	for field, f := range map[string]struct {
		sealed []byte
		to     *string
	}{"name": {name, &p.Name}, "phone": {number, &e164}, "email": {email, &p.Email}, "birth_date": {birth, &p.BirthDate}} {
		if *f.to, err = openText(key, f.sealed, column(id, "patients", field, p.ID)); err != nil {
			return p, key, err
		}
	}
	if e164 != "" {
		p.Phone, err = phone.FromE164(e164)
	}
	return p, key, err
}

// PatientByID returns one patient, or [ErrNotFound].
func (db *DB) PatientByID(ctx context.Context, id tenant.ID, patient uuid.UUID) (p Patient, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) (err error) {
		p, _, err = db.patientRecord(ctx, tx, id, patient, selectPatientRecord)
		return err
	})
	return p, wrapped("store: patient", err)
}

func (db *DB) patientRecord(ctx context.Context, tx pgx.Tx, id tenant.ID, patient uuid.UUID, sql string) (p Patient, key seal.Key, err error) {
	p, err = oneByID(ctx, db, tx, id, patient, sql, func(row pgx.CollectableRow, v viewer) (p Patient, err error) {
		p, key, err = scanPatient(row, id, v)
		return p, err
	})
	return p, key, err
}

// PatientNumbered returns the patient with the clinic's own number, or
// [ErrNotFound].
func (db *DB) PatientNumbered(ctx context.Context, id tenant.ID, external string) (p Patient, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		var patient uuid.UUID
		if err := tx.QueryRow(ctx, selectPatientNumbered, id, external).Scan(&patient); err != nil {
			return notFound(err)
		}
		p, _, err = db.patientRecord(ctx, tx, id, patient, selectPatientRecord)
		return err
	})
	return p, wrapped("store: patient", err)
}

// CreatePatient saves a patient. Errors are [ErrTaken] where the clinic's own
// number is another's, or wrap [ErrUnavailable].
func (db *DB) CreatePatient(ctx context.Context, id tenant.ID, p Patient) (out Patient, err error) {
	p.ID = uuid.Must(uuid.NewV7())
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		out, err = db.writePatient(ctx, tx, id, p, nil)
		return err
	})
	return out, wrapped("store: create a patient", err)
}

// ChangePatient changes one; seen is [Patient.Updated] of what the change was
// made from, zero whichever there is. An opt-out belongs to the number: another
// number has its own. Errors are [ErrTaken], [ErrChanged], or wrap [ErrNotFound]
// or [ErrUnavailable].
func (db *DB) ChangePatient(ctx context.Context, id tenant.ID, patient uuid.UUID, seen time.Time, change func(*Patient)) (out Patient, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, shareFamilies, id); err != nil {
			return err
		}
		p, key, err := db.patientRecord(ctx, tx, id, patient, selectPatientRecord+" FOR UPDATE")
		if err != nil {
			return err
		}
		if !seen.IsZero() && !seen.Equal(p.Updated) {
			return ErrChanged
		}
		was := p
		change(&p)
		if p == was {
			out = was
			return nil
		}
		out, err = db.writePatient(ctx, tx, id, p, &key)
		return err
	})
	return out, wrapped("store: change a patient", err)
}

// writePatient inserts a patient, or updates the one whose key is given.
func (db *DB) writePatient(ctx context.Context, tx pgx.Tx, id tenant.ID, p Patient, key *seal.Key) (out Patient, err error) {
	keys, err := db.tenantKey(ctx, tx, id)
	if err != nil {
		return out, err
	}
	action, own := "patient.change", seal.Key{}
	if key != nil {
		own = *key
	} else {
		action, own = "patient.create", seal.NewKey()
	}
	text := func(s, field string) []byte { return sealText(own, s, column(id, "patients", field, p.ID)) }
	var index, last4, number []byte
	if !p.Phone.IsZero() {
		index, last4, number = phoneIndex(keys, p.Phone), blind(keys, indexLast4, p.Phone.Last4()), text(p.Phone.E164(), "phone")
		var optOuts carrying
		optOuts.add(id, keys, p.Phone)
		if err := optOuts.carry(ctx, tx); err != nil {
			return out, err
		}
	}
	rest := []any{text(p.Name, "name"), number, index, last4, text(p.Email, "email"), text(p.BirthDate, "birth_date"), birthday(p.BirthDate), nullText(p.Gender)}
	sql, args := updatePatientRecord, append([]any{id, p.ID, nullText(p.ExternalID)}, rest...)
	if key == nil {
		sql, args = insertPatientRecord, append([]any{id, p.ID, nullText(p.ExternalID), keys.Wrap(own, patientKeyAAD(id, p.ID))}, rest...)
	}
	if _, err := tx.Exec(ctx, sql, args...); err != nil {
		return out, taken(err)
	}
	if err := audit(ctx, tx, id, AuditEntry{Action: action, Subject: "patient", SubjectID: p.ID, Patients: []uuid.UUID{p.ID}}); err != nil {
		return out, err
	}
	out, _, err = db.patientRecord(ctx, tx, id, p.ID, selectPatientRecord)
	return out, err
}

// birthday is the month and day of a date, nil where there is none.
func birthday(date string) *int16 {
	day, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return nil
	}
	return new(segment.MonthDay(day))
}

const insertConsent = `
INSERT INTO consents (tenant_id, id, patient_id, channel, purpose, granted, method, text_version, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, (SELECT app_now()))`

const selectConsents = `
SELECT c.id, c.channel, c.purpose, c.granted, c.method, c.text_version, c.at FROM consents c
WHERE  c.tenant_id = $1 AND c.patient_id = $2
ORDER  BY c.at DESC, c.id DESC LIMIT 200`

const selectLivePatient = `SELECT coalesce(p.merged_into, p.id) FROM patients p WHERE p.tenant_id = $1 AND p.id = $2 AND p.erased_at IS NULL`

// Consents returns what a patient has said, the last word first, at most 200.
// Errors wrap [ErrNotFound] or [ErrUnavailable].
func (db *DB) Consents(ctx context.Context, id tenant.ID, patient uuid.UUID) (list []Consent, err error) {
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		v, err := db.viewer(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, selectLivePatient, id, patient).Scan(&patient); err != nil {
			return notFound(err)
		}
		rows, err := tx.Query(ctx, selectConsents, id, patient)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (c Consent, err error) {
			err = row.Scan(&c.ID, &c.Channel, &c.Purpose, &c.Granted, &c.Method, &c.TextVersion, &c.At)
			c.At = c.At.In(v.zone)
			return c, err
		})
		return err
	})
	return list, wrapped("store: consents", err)
}

// SayConsent keeps what a patient says; nothing said before is changed. Errors
// wrap [ErrNotFound] or [ErrUnavailable].
func (db *DB) SayConsent(ctx context.Context, id tenant.ID, patient uuid.UUID, c Consent) (out Consent, err error) {
	c.ID = uuid.Must(uuid.NewV7())
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, selectLivePatient+" FOR SHARE", id, patient).Scan(&patient); err != nil {
			return notFound(err)
		}
		if _, err := tx.Exec(ctx, insertConsent, id, c.ID, patient, c.Channel, c.Purpose, c.Granted, c.Method, c.TextVersion); err != nil {
			return err
		}
		return audit(ctx, tx, id, AuditEntry{Action: "patient.consent", Subject: "consent", SubjectID: c.ID, Patients: []uuid.UUID{patient}, Detail: map[string]any{
			"channel": string(c.Channel), "purpose": c.Purpose, "granted": c.Granted, "method": c.Method,
		}})
	})
	if err != nil {
		return out, wrapped("store: consent", err)
	}
	list, err := db.Consents(ctx, id, patient)
	for _, one := range list {
		if one.ID == c.ID {
			return one, nil
		}
	}
	return out, err
}
