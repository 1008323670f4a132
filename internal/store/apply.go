package store

import (
	"bytes"
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
INSERT INTO tenants (id, slug, name, phone, time_zone, send_at, quiet_from, quiet_until, data_key)
VALUES ($1, $2, $3, $4, $5, $6::time, $7::time, $8::time, $9)
ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, phone = EXCLUDED.phone, time_zone = EXCLUDED.time_zone, send_at = EXCLUDED.send_at,
  quiet_from = EXCLUDED.quiet_from, quiet_until = EXCLUDED.quiet_until, updated_at = (SELECT app_now())`

const selectTenantSettings = `
SELECT name, coalesce(phone, ''), time_zone, to_char(send_at, 'HH24:MI'),
       coalesce(to_char(quiet_from, 'HH24:MI'), ''), coalesce(to_char(quiet_until, 'HH24:MI'), ''), data_key
FROM   tenants WHERE id = $1`

func (a *applying) tenant(ctx context.Context) error {
	t := a.f.Tenant
	from, until := "", ""
	if t.QuietHours != nil {
		from, until = t.QuietHours.From.String(), t.QuietHours.Until.String()
	}
	want := map[string]string{"name": t.Name, "phone": t.Phone, "time_zone": t.TimeZone, "send_at": t.SendAt.String(), "quiet_from": from, "quiet_until": until}
	var name, number, zone, sendAt, haveFrom, haveUntil string
	var wrapped []byte
	err := a.tx.QueryRow(ctx, selectTenantSettings, a.id).Scan(&name, &number, &zone, &sendAt, &haveFrom, &haveUntil, &wrapped)
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
		if a.key, err = a.db.unwrap(a.id, wrapped); err != nil {
			return err
		}
	}
	if !a.compare("tenant", t.Slug, have, want) {
		return nil
	}
	_, err = a.tx.Exec(ctx, upsertTenant, a.id, t.Slug, t.Name, nullText(t.Phone), t.TimeZone, t.SendAt.String(), nullText(from), nullText(until), wrapped)
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
SELECT name, class, coalesce(kakao_template_code, ''), coalesce(kakao_text, ''), coalesce(sms_title, ''), coalesce(sms_text, '')
FROM   templates WHERE tenant_id = $1`

const upsertTemplate = `
INSERT INTO templates (tenant_id, id, name, class, kakao_template_code, kakao_text, sms_title, sms_text)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (tenant_id, name) DO UPDATE SET class = EXCLUDED.class, kakao_template_code = EXCLUDED.kakao_template_code,
  kakao_text = EXCLUDED.kakao_text, sms_title = EXCLUDED.sms_title, sms_text = EXCLUDED.sms_text, updated_at = (SELECT app_now())`

func (a *applying) templates(ctx context.Context) error {
	rows, err := a.tx.Query(ctx, selectTemplates, a.id)
	if err != nil {
		return err
	}
	have := map[string]map[string]string{}
	var name, class, code, kakao, title, sms string
	_, err = pgx.ForEachRow(rows, []any{&name, &class, &code, &kakao, &title, &sms}, func() error {
		have[name] = map[string]string{"class": class, "kakao_template_code": code, "kakao_text": kakao, "sms_title": title, "sms_text": sms}
		return nil
	})
	if err != nil {
		return err
	}
	for _, t := range a.f.Templates {
		want := map[string]string{"class": string(t.Class), "kakao_template_code": t.KakaoTemplateCode, "kakao_text": t.KakaoText, "sms_title": t.SMSTitle, "sms_text": t.SMSText}
		if !a.compare("template", t.Name, have[t.Name], want) {
			continue
		}
		_, err := a.tx.Exec(ctx, upsertTemplate, a.id, uuid.Must(uuid.NewV7()), t.Name, t.Class,
			nullText(t.KakaoTemplateCode), nullText(t.KakaoText), nullText(t.SMSTitle), nullText(t.SMSText))
		if err != nil {
			return err
		}
	}
	return nil
}

const selectPublished = `
SELECT w.name, w.trigger_type, coalesce(w.target_surgery_type, ''), w.is_active, w.version, coalesce(v.definition, 'null')
FROM   workflows w
LEFT   JOIN workflow_versions v ON v.tenant_id = w.tenant_id AND v.workflow_id = w.id AND v.version = w.version
WHERE  w.tenant_id = $1`

const upsertWorkflow = `
INSERT INTO workflows (tenant_id, id, name, trigger_type, target_surgery_type, is_active, steps, visual_data, version)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (tenant_id, name) DO UPDATE SET trigger_type = EXCLUDED.trigger_type, target_surgery_type = EXCLUDED.target_surgery_type,
  is_active = EXCLUDED.is_active, steps = EXCLUDED.steps, visual_data = EXCLUDED.visual_data, version = EXCLUDED.version, updated_at = (SELECT app_now())`

const insertVersion = `INSERT INTO workflow_versions (tenant_id, workflow_id, version, definition) VALUES ($1, $2, $3, $4)`

// publish writes workflows; a changed definition, a template's text included,
// is a new version, and runs in flight stay on theirs.
func (a *applying) publish(ctx context.Context) error {
	rows, err := a.tx.Query(ctx, selectPublished, a.id)
	if err != nil {
		return err
	}
	type published struct {
		fields  map[string]string
		version int32
	}
	have := map[string]published{}
	var name, kind, target string
	var active bool
	var version int32
	var definition []byte
	_, err = pgx.ForEachRow(rows, []any{&name, &kind, &target, &active, &version, &definition}, func() error {
		have[name] = published{map[string]string{"trigger_type": kind, "target_surgery_type": target, "is_active": fmt.Sprint(active), "definition": canonical(definition)}, version}
		return nil
	})
	if err != nil {
		return err
	}
	templates := map[string]clinic.Template{}
	for _, t := range a.f.Templates {
		templates[t.Name] = t
	}
	for _, w := range a.f.Workflows {
		d, err := w.Definition(templates)
		if err != nil {
			return err
		}
		b, err := json.Marshal(d)
		if err != nil {
			return err
		}
		want := map[string]string{"trigger_type": w.TriggerType, "target_surgery_type": w.TargetSurgeryType, "is_active": fmt.Sprint(*w.IsActive), "definition": canonical(b)}
		old := have[w.Name]
		if !a.compare("workflow", w.Name, old.fields, want) {
			continue
		}
		id, known := a.workflows[w.Name]
		if !known {
			id = uuid.Must(uuid.NewV7())
			a.workflows[w.Name] = id
		}
		version := old.version
		if old.fields["definition"] != want["definition"] {
			version++
		}
		steps, err := json.Marshal(append([]workflow.Step{}, d.Steps...)) // [] and not null
		if err != nil {
			return err
		}
		var visual *string
		if d.Drawing != nil {
			visual = &d.Drawing.VisualData
		}
		if _, err := a.tx.Exec(ctx, upsertWorkflow, a.id, id, w.Name, w.TriggerType, nullText(w.TargetSurgeryType), *w.IsActive, steps, visual, version); err != nil {
			return err
		}
		if version != old.version {
			if _, err := a.tx.Exec(ctx, insertVersion, a.id, id, version, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// canonical is the same text for the same JSON, whatever jsonb made of it.
func canonical(b []byte) string {
	var v any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return string(b)
	}
	out, err := json.Marshal(v)
	if err != nil {
		return string(b)
	}
	return string(out)
}
