package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/doctorsflow/doctorsflow/internal/clinic"
	"github.com/doctorsflow/doctorsflow/internal/phone"
	"github.com/doctorsflow/doctorsflow/internal/seal"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/internal/workflow"
)

// Change is one difference between a clinic's file and the ledger. Fields
// holds names of columns, never values.
type Change struct {
	Kind   string // tenant, account, template, workflow, webhook, patient
	Name   string
	Action string // create, update, unchanged
	Fields []string
}

// AppliedWebhook is an endpoint of the file.
type AppliedWebhook struct {
	Name string
	ID   uuid.UUID
	// Secret is set only when this apply made or took one: it is shown once
	// and kept sealed.
	Secret []byte
}

// Applied is what applying a file did, or would do.
type Applied struct {
	Tenant   tenant.ID
	Changes  []Change
	Webhooks []AppliedWebhook
	Accounts []AppliedAccount
	// OptedOut is what became of what was planned for those that the file opts
	// out.
	OptedOut Replanned
}

// Changed counts the changes that are not "unchanged".
func (a Applied) Changed() int {
	n := 0
	for _, c := range a.Changes {
		if c.Action != "unchanged" {
			n++
		}
	}
	return n
}

// ApplyOptions says how a file is applied.
type ApplyOptions struct {
	// DryRun finds the difference and changes nothing.
	DryRun bool
	// Secret is given to every webhook of the file instead of a random one.
	Secret []byte
	// Phones says which numbers are patients'.
	Phones phone.Options
}

var errDryRun = errors.New("dry run")

// ApplyClinic makes the ledger be what the file says, in one transaction.
// Applying the same file again changes nothing. Problems of the file are
// joined in one error.
func (db *DB) ApplyClinic(ctx context.Context, f *clinic.File, o ApplyOptions) (Applied, error) {
	id, err := db.TenantBySlug(ctx, f.Tenant.Slug)
	created := errors.Is(err, ErrNotFound)
	if created {
		id = tenant.NewID()
	} else if err != nil {
		return Applied{}, err
	}
	for i := range f.Workflows {
		f.Workflows[i].PublicURL = db.publicURL
	}
	a := &applying{db: db, f: f, o: o, id: id, out: Applied{Tenant: id}, workflows: map[string]uuid.UUID{}}
	err = db.inTenant(ctx, id, func(tx pgx.Tx) error {
		a.tx = tx
		for _, step := range []func(context.Context) error{a.check, a.tenant, a.accounts, a.templates, a.publish, a.webhooks, a.patients} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		if o.DryRun {
			return errDryRun
		}
		return a.audit(ctx)
	})
	if err != nil && !errors.Is(err, errDryRun) {
		return Applied{}, fmt.Errorf("store: apply: %w", err)
	}
	if o.DryRun {
		return a.out, nil
	}
	a.out.OptedOut, err = db.withoutPlans(ctx, id, slices.Concat(a.optedOut...), OptOut{}, acting(ctx))
	return a.out, err
}

type applying struct {
	db        *DB
	tx        pgx.Tx
	f         *clinic.File
	o         ApplyOptions
	id        tenant.ID
	key       *seal.TenantKeys
	out       Applied
	workflows map[string]uuid.UUID
	changed   []uuid.UUID   // patients
	optedOut  [][]uuid.UUID // the patients of each number
}

func (a *applying) check(ctx context.Context) error {
	rows, err := a.tx.Query(ctx, `SELECT id, name FROM workflows WHERE tenant_id = $1`, a.id)
	if err != nil {
		return err
	}
	var id uuid.UUID
	var name string
	if _, err := pgx.ForEachRow(rows, []any{&id, &name}, func() error { a.workflows[name] = id; return nil }); err != nil {
		return err
	}
	return a.f.Check(a.o.Phones, func(kind, name string) bool { _, ok := a.workflows[name]; return kind == "workflow" && ok })
}

// compare notes what differs between have and want and returns whether
// anything does; have is nil for a new row.
func (a *applying) compare(kind, name string, have, want map[string]string) (changed bool) {
	c := Change{Kind: kind, Name: name, Action: "unchanged"}
	if have == nil {
		c.Action = "create"
	} else {
		for _, field := range slices.Sorted(maps.Keys(want)) {
			if have[field] != want[field] {
				c.Action, c.Fields = "update", append(c.Fields, field)
			}
		}
	}
	a.out.Changes = append(a.out.Changes, c)
	return c.Action != "unchanged"
}

const upsertTenant = `
INSERT INTO tenants (id, slug, name, phone, time_zone, send_at, quiet_from, quiet_until, send_windows, frequency_caps, calendar, data_key)
VALUES ($1, $2, $3, $4, $5, $6::time, $7::time, $8::time, $9::jsonb, $10::jsonb, $11::jsonb, $12)
ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, phone = EXCLUDED.phone, time_zone = EXCLUDED.time_zone, send_at = EXCLUDED.send_at,
  quiet_from = EXCLUDED.quiet_from, quiet_until = EXCLUDED.quiet_until, send_windows = EXCLUDED.send_windows,
  frequency_caps = EXCLUDED.frequency_caps, calendar = EXCLUDED.calendar, updated_at = (SELECT app_now())`

const selectTenantSettings = `
SELECT name, coalesce(phone, ''), time_zone, to_char(send_at, 'HH24:MI'),
       coalesce(to_char(quiet_from, 'HH24:MI'), ''), coalesce(to_char(quiet_until, 'HH24:MI'), ''),
       send_windows, frequency_caps, calendar, data_key
FROM   tenants WHERE id = $1`

func (a *applying) tenant(ctx context.Context) error {
	t := a.f.Tenant
	from, until := "", ""
	if t.QuietHours != nil {
		from, until = t.QuietHours.From.String(), t.QuietHours.Until.String()
	}
	want := map[string]string{"name": t.Name, "phone": t.Phone, "time_zone": t.TimeZone, "send_at": t.SendAt.String(), "quiet_from": from, "quiet_until": until}
	windows, err := keptAs(t.SendWindows, len(t.SendWindows) == 0)
	if err != nil {
		return err
	}
	caps, err := keptAs(t.FrequencyCaps, len(t.FrequencyCaps) == 0)
	if err != nil {
		return err
	}
	calendar, err := keptAs(t.Calendar, t.Calendar == nil)
	if err != nil {
		return err
	}
	want["send_windows"], want["frequency_caps"], want["calendar"] = string(windows), string(caps), string(calendar)
	var name, number, zone, sendAt, haveFrom, haveUntil string
	var wrapped, haveWindows, haveCaps, haveCalendar []byte
	err = a.tx.QueryRow(ctx, selectTenantSettings, a.id).Scan(&name, &number, &zone, &sendAt, &haveFrom, &haveUntil, &haveWindows, &haveCaps, &haveCalendar, &wrapped)
	var have map[string]string
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		wrapped = a.db.ring.Wrap(a.id, seal.NewKey())
		if a.key, err = a.db.unwrap(a.id, wrapped); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		have = map[string]string{"name": name, "phone": number, "time_zone": zone, "send_at": sendAt, "quiet_from": haveFrom, "quiet_until": haveUntil}
		if err := haveSettings(have, haveWindows, haveCaps, haveCalendar); err != nil {
			return err
		}
		if a.key, err = a.db.unwrap(a.id, wrapped); err != nil {
			return err
		}
	}
	if !a.compare("tenant", t.Slug, have, want) {
		return nil
	}
	_, err = a.tx.Exec(ctx, upsertTenant, a.id, t.Slug, t.Name, nullText(t.Phone), t.TimeZone, t.SendAt.String(), nullText(from), nullText(until), windows, caps, calendar, wrapped)
	return err
}

const selectAccounts = `
SELECT a.id, a.channel, a.vendor, a.base_url, a.sender, a.rate_per_second, a.credentials, a.report_token
FROM   provider_accounts a WHERE a.tenant_id = $1 AND a.enabled`

const upsertAccount = `
INSERT INTO provider_accounts (tenant_id, id, channel, vendor, base_url, credentials, sender, rate_per_second, report_token)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (tenant_id, id) DO UPDATE SET vendor = EXCLUDED.vendor, base_url = EXCLUDED.base_url, credentials = EXCLUDED.credentials,
  sender = EXCLUDED.sender, rate_per_second = EXCLUDED.rate_per_second, report_token = EXCLUDED.report_token, updated_at = (SELECT app_now())`

const replaceAccount = `UPDATE provider_accounts SET enabled = false, updated_at = (SELECT app_now()) WHERE tenant_id = $1 AND id = $2`

func otherAccount(have, want map[string]string) bool {
	var h, w Credentials
	if json.Unmarshal([]byte(have["credentials"]), &h) != nil || json.Unmarshal([]byte(want["credentials"]), &w) != nil {
		return true
	}
	return h.AppKey != w.AppKey || have["vendor"] != want["vendor"] || have["base_url"] != want["base_url"] || have["sender"] != want["sender"]
}

func (a *applying) accounts(ctx context.Context) error {
	rows, err := a.tx.Query(ctx, selectAccounts, a.id)
	if err != nil {
		return err
	}
	type account struct {
		id     uuid.UUID
		fields map[string]string
	}
	have := map[string]account{}
	var id uuid.UUID
	var channel, vendor, base, sender string
	var rate int
	var sealed, token []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &channel, &vendor, &base, &sender, &rate, &sealed, &token}, func() error {
		plain, err := a.key.Open(sealed, column(a.id, "provider_accounts", "credentials", id))
		if err != nil {
			return err
		}
		report, err := openToken(a.key, token, a.id, id)
		have[channel] = account{id, map[string]string{
			"vendor": vendor, "base_url": base, "sender": sender, "rate_per_second": fmt.Sprint(rate), "credentials": string(plain), "report_token": report,
		}}
		return err
	})
	if err != nil {
		return err
	}
	for _, w := range a.f.Accounts {
		creds, err := json.Marshal(Credentials{AppKey: w.AppKey, Secret: w.Secret})
		if err != nil {
			return err
		}
		want := map[string]string{"vendor": w.Vendor, "base_url": w.BaseURL, "sender": w.Sender, "rate_per_second": fmt.Sprint(w.RatePerSecond), "credentials": string(creds)}
		old := have[string(w.Channel)]
		want["report_token"] = reportToken(w.ReportToken, old.fields, want)
		if !a.compare("account", string(w.Channel), old.fields, want) {
			a.out.Accounts = append(a.out.Accounts, AppliedAccount{Channel: w.Channel, Vendor: w.Vendor, ID: old.id})
			continue
		}
		// Another gateway, app key or sender is another account: what the old
		// one was sent can only be asked of the old one.
		if old.fields != nil && otherAccount(old.fields, want) {
			if _, err := a.tx.Exec(ctx, replaceAccount, a.id, old.id); err != nil {
				return err
			}
			old.fields = nil
		}
		if old.fields == nil {
			old.id = uuid.Must(uuid.NewV7())
		}
		_, err = a.tx.Exec(ctx, upsertAccount, a.id, old.id, w.Channel, w.Vendor, w.BaseURL,
			a.key.Seal(creds, column(a.id, "provider_accounts", "credentials", old.id)), w.Sender, w.RatePerSecond,
			a.key.Seal([]byte(want["report_token"]), column(a.id, "provider_accounts", "report_token", old.id)))
		if err != nil {
			return err
		}
		out := AppliedAccount{Channel: w.Channel, Vendor: w.Vendor, ID: old.id}
		if old.fields["report_token"] != want["report_token"] {
			out.ReportToken = want["report_token"]
		}
		a.out.Accounts = append(a.out.Accounts, out)
	}
	return nil
}

const selectTemplates = `
SELECT name, class, coalesce(kakao_template_code, ''), kakao_status, coalesce(kakao_text, ''), coalesce(sms_title, ''), coalesce(sms_text, '')
FROM   templates WHERE tenant_id = $1`

const upsertTemplate = `
INSERT INTO templates (tenant_id, id, name, class, kakao_template_code, kakao_status, kakao_text, sms_title, sms_text)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (tenant_id, name) DO UPDATE SET class = EXCLUDED.class, kakao_template_code = EXCLUDED.kakao_template_code, kakao_status = EXCLUDED.kakao_status,
  kakao_text = EXCLUDED.kakao_text, sms_title = EXCLUDED.sms_title, sms_text = EXCLUDED.sms_text, version = templates.version + 1, updated_at = (SELECT app_now())`

func (a *applying) templates(ctx context.Context) error {
	have, err := templatesOf(ctx, a.tx, a.id)
	if err != nil {
		return err
	}
	for _, t := range a.f.Templates {
		var old map[string]string
		if h, known := have[t.Name]; known {
			old = templateFields(h)
		}
		if !a.compare("template", t.Name, old, templateFields(t)) {
			continue
		}
		_, err := a.tx.Exec(ctx, upsertTemplate, a.id, uuid.Must(uuid.NewV7()), t.Name, t.Class,
			nullText(t.KakaoTemplateCode), templateFields(t)["kakao_status"], nullText(t.KakaoText), nullText(t.SMSTitle), nullText(t.SMSText))
		if err != nil {
			return err
		}
	}
	return nil
}

func templateFields(t clinic.Template) map[string]string {
	status := t.KakaoStatus
	if status == "" {
		status = workflow.Approved
	}
	return map[string]string{
		"class": string(t.Class), "kakao_template_code": t.KakaoTemplateCode, "kakao_status": status, "kakao_text": t.KakaoText, "sms_title": t.SMSTitle, "sms_text": t.SMSText,
	}
}

// templatesOf reads a tenant's templates, by name.
func templatesOf(ctx context.Context, tx querier, id tenant.ID) (map[string]clinic.Template, error) {
	rows, err := tx.Query(ctx, selectTemplates, id)
	if err != nil {
		return nil, err
	}
	out := map[string]clinic.Template{}
	var t clinic.Template
	_, err = pgx.ForEachRow(rows, []any{&t.Name, &t.Class, &t.KakaoTemplateCode, &t.KakaoStatus, &t.KakaoText, &t.SMSTitle, &t.SMSText}, func() error {
		if t.KakaoStatus == workflow.Approved {
			t.KakaoStatus = ""
		}
		out[t.Name] = t
		return nil
	})
	return out, err
}
