package store

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/seal"
)

const selectWebhooks = `
SELECT id, name, coalesce(workflow_id::text, ''), secret, enabled, legacy_signature, event_id_pointer, patient_pointer, type_pointer,
       create_patients, routes, rate_per_minute
FROM   webhooks WHERE tenant_id = $1`

const upsertWebhook = `
INSERT INTO webhooks (tenant_id, id, name, workflow_id, secret, enabled, legacy_signature, event_id_pointer, patient_pointer, type_pointer,
                      create_patients, routes, rate_per_minute, previous_secret, previous_expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, (SELECT app_now()) + $15::interval)
ON CONFLICT (tenant_id, id) DO UPDATE SET workflow_id = EXCLUDED.workflow_id, secret = EXCLUDED.secret,
  previous_secret = coalesce(EXCLUDED.previous_secret, webhooks.previous_secret),
  previous_expires_at = CASE WHEN EXCLUDED.previous_secret IS NULL THEN webhooks.previous_expires_at ELSE EXCLUDED.previous_expires_at END,
  enabled = EXCLUDED.enabled,
  legacy_signature = EXCLUDED.legacy_signature, event_id_pointer = EXCLUDED.event_id_pointer, patient_pointer = EXCLUDED.patient_pointer,
  type_pointer = EXCLUDED.type_pointer, create_patients = EXCLUDED.create_patients, routes = EXCLUDED.routes,
  rate_per_minute = EXCLUDED.rate_per_minute, updated_at = (SELECT app_now())`

// rotation is how long a replaced secret is still accepted, so that a producer
// can change over without a refused call.
const rotation = 24 * time.Hour

type haveWebhook struct {
	id     uuid.UUID
	secret []byte
	fields map[string]string
}

func (a *applying) haveWebhooks(ctx context.Context) (map[string]haveWebhook, error) {
	rows, err := a.tx.Query(ctx, selectWebhooks, a.id)
	if err != nil {
		return nil, err
	}
	have := map[string]haveWebhook{}
	var id uuid.UUID
	var name, workflow, eventID, patient, kind string
	var sealed, routes []byte
	var enabled, legacy, create bool
	var rate int
	_, err = pgx.ForEachRow(rows, []any{&id, &name, &workflow, &sealed, &enabled, &legacy, &eventID, &patient, &kind, &create, &routes, &rate}, func() error {
		secret, err := a.key.Open(sealed, column(a.id, "webhooks", "secret", id))
		have[name] = haveWebhook{id, secret, webhookFields(workflow, enabled, legacy, eventID, patient, kind, create, routes, rate, secret)}
		return err
	})
	return have, err
}

func webhookFields(workflow string, enabled, legacy bool, eventID, patient, kind string, create bool, routes []byte, rate int, secret []byte) map[string]string {
	return map[string]string{
		"workflow": workflow, "enabled": fmt.Sprint(enabled), "legacy_signature": fmt.Sprint(legacy), "event_id_pointer": eventID,
		"patient_pointer": patient, "type_pointer": kind, "create_patients": fmt.Sprint(create), "routes": canonical(routes),
		"rate_per_minute": fmt.Sprint(rate), "secret": string(secret),
	}
}

func (a *applying) webhooks(ctx context.Context) error {
	have, err := a.haveWebhooks(ctx)
	if err != nil {
		return err
	}
	for _, w := range a.f.Webhooks {
		old := have[w.Name]
		secret := old.secret
		switch {
		case a.o.Secret != nil:
			secret = a.o.Secret
		case secret == nil:
			secret = make([]byte, 32)
			if _, err := rand.Read(secret); err != nil {
				return err
			}
		}
		routes := map[string][]uuid.UUID{}
		for kind, names := range w.Routes {
			for _, n := range names {
				routes[kind] = append(routes[kind], a.workflows[n])
			}
		}
		routesJSON, err := json.Marshal(routes)
		if err != nil {
			return err
		}
		workflow := ""
		if w.Workflow != "" {
			workflow = a.workflows[w.Workflow].String()
		}
		want := webhookFields(workflow, *w.Enabled, w.LegacySignature, w.EventIDPointer, *w.PatientPointer, *w.TypePointer, *w.CreatePatients, routesJSON, w.RatePerMinute, secret)
		changed := a.compare("webhook", w.Name, old.fields, want)
		if old.fields == nil {
			old.id = uuid.Must(uuid.NewV7())
		}
		out := AppliedWebhook{Name: w.Name, ID: old.id}
		if string(old.secret) != string(secret) {
			out.Secret = secret
		}
		a.out.Webhooks = append(a.out.Webhooks, out)
		if !changed {
			continue
		}
		var previous []byte
		if old.secret != nil && out.Secret != nil {
			previous = a.key.Seal(old.secret, column(a.id, "webhooks", "previous_secret", old.id))
		}
		_, err = a.tx.Exec(ctx, upsertWebhook, a.id, old.id, w.Name, nullText(workflow), a.key.Seal(secret, column(a.id, "webhooks", "secret", old.id)),
			*w.Enabled, w.LegacySignature, w.EventIDPointer, *w.PatientPointer, *w.TypePointer, *w.CreatePatients, routesJSON, w.RatePerMinute,
			previous, rotation)
		if err != nil {
			return err
		}
	}
	return nil
}

const selectPatientRow = `
SELECT id, data_key, name, phone, email, birth_date, coalesce(gender, ''), coalesce(birthday, 0)
FROM   patients WHERE tenant_id = $1 AND external_id = $2 AND erased_at IS NULL`

const upsertPatient = `
INSERT INTO patients (tenant_id, id, external_id, data_key, name, phone, phone_index, phone_last4_index, email, birth_date, gender, birthday)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (tenant_id, id) DO UPDATE SET name = EXCLUDED.name, phone = EXCLUDED.phone, phone_index = EXCLUDED.phone_index,
  phone_last4_index = EXCLUDED.phone_last4_index, email = EXCLUDED.email, birth_date = EXCLUDED.birth_date, gender = EXCLUDED.gender, birthday = EXCLUDED.birthday,
  updated_at = (SELECT app_now())`

func (a *applying) patients(ctx context.Context) error {
	if len(a.f.Patients) > 0 {
		if _, err := a.tx.Exec(ctx, shareFamilies, a.id); err != nil {
			return err
		}
	}
	for _, p := range a.f.Patients {
		number, err := phone.Parse(p.Phone, a.o.Phones)
		if err != nil {
			return err
		}
		want := map[string]string{"name": p.Name, "phone": number.E164(), "email": p.Email, "birth_date": p.BirthDate, "gender": p.Gender, "birthday": "0"}
		if day := birthday(p.BirthDate); day != nil {
			want["birthday"] = fmt.Sprint(*day)
		}
		id, wrapped, key, have, err := a.havePatient(ctx, p.ExternalID)
		if err != nil {
			return err
		}
		optedOut := len(a.optedOut)
		if p.OptedOut {
			if err := a.optOut(ctx, number, have, want); err != nil {
				return err
			}
		}
		if !a.compare("patient", p.ExternalID, have, want) {
			continue
		}
		if have == nil {
			id, key = uuid.Must(uuid.NewV7()), seal.NewKey()
			wrapped = a.key.Wrap(key, patientKeyAAD(a.id, id))
		}
		a.changed = append(a.changed, id)
		if len(a.optedOut) > optedOut { // a new patient had no row with the number yet
			a.optedOut[optedOut] = append(a.optedOut[optedOut], id)
		}
		var optOuts carrying
		optOuts.add(a.id, a.key, number)
		if err := optOuts.carry(ctx, a.tx); err != nil {
			return err
		}
		_, err = a.tx.Exec(ctx, upsertPatient, a.id, id, p.ExternalID, wrapped,
			sealText(key, p.Name, column(a.id, "patients", "name", id)),
			sealText(key, number.E164(), column(a.id, "patients", "phone", id)),
			phoneIndex(a.key, number), blind(a.key, indexLast4, number.Last4()),
			sealText(key, p.Email, column(a.id, "patients", "email", id)),
			sealText(key, p.BirthDate, column(a.id, "patients", "birth_date", id)), nullText(p.Gender), birthday(p.BirthDate))
		if err != nil {
			return err
		}
	}
	return nil
}

// optOut makes a new suppression part of the patient's difference.
func (a *applying) optOut(ctx context.Context, number phone.Number, have, want map[string]string) error {
	fresh, patients, err := suppress(ctx, a.tx, a.id, phoneIndexes(a.key, number), OptOut{Source: "apply"})
	if fresh {
		a.optedOut = append(a.optedOut, patients)
	}
	if have != nil {
		have["opted_out"] = fmt.Sprint(!fresh)
	}
	want["opted_out"] = "true"
	return err
}

func (a *applying) havePatient(ctx context.Context, external string) (id uuid.UUID, wrapped []byte, key seal.Key, have map[string]string, err error) {
	var gender string
	var day int16
	fields := map[string][]byte{}
	var name, number, email, birth []byte
	err = a.tx.QueryRow(ctx, selectPatientRow, a.id, external).Scan(&id, &wrapped, &name, &number, &email, &birth, &gender, &day)
	if errors.Is(err, pgx.ErrNoRows) {
		return id, nil, key, nil, nil
	}
	if err != nil {
		return id, nil, key, nil, err
	}
	if key, err = a.key.Unwrap(wrapped, patientKeyAAD(a.id, id)); err != nil {
		return id, nil, key, nil, err
	}
	fields["name"], fields["phone"], fields["email"], fields["birth_date"] = name, number, email, birth
	have = map[string]string{"gender": gender, "birthday": fmt.Sprint(day)}
	for f, sealed := range fields {
		if have[f], err = openText(key, sealed, column(a.id, "patients", f, id)); err != nil {
			return id, nil, key, nil, err
		}
	}
	return id, wrapped, key, have, nil
}
