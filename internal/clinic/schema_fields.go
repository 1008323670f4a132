package clinic

import "github.com/doctorsflow/doctorsflow/internal/workflow"

// fieldRule is what a schema says of a field besides its type.
type fieldRule struct {
	says     string
	required bool
	also     schema
}

var (
	named   = schema{"minLength": 1, "maxLength": 100}
	late    = schema{"enum": []workflow.Late{workflow.LateSend, workflow.LateSkip, workflow.LateExpire}}
	unknown = schema{"enum": []workflow.OnUnknown{workflow.Park, workflow.Resend, workflow.Fallback}}
	classes = schema{"enum": []workflow.Class{workflow.Transactional, workflow.CareFollowup, workflow.Marketing, workflow.Auth}}
)

// fields are the rules by type and name; every field of a file has one.
var fields = map[string]fieldRule{
	"WorkflowFile.workflow":  {says: "The workflow.", required: true},
	"WorkflowFile.templates": {says: "The texts that it takes. Importing the file makes the clinic's templates of these names be so."},

	"Workflow.name":                {says: "Found by its name: 1 to 100 bytes.", required: true, also: named},
	"Workflow.trigger_type":        {says: "What begins it; webhook by default.", also: schema{"enum": TriggerTypes}},
	"Workflow.target_surgery_type": {says: "Only events of this surgery; empty for any."},
	"Workflow.is_active":           {says: "Whether events begin runs of it; true by default."},
	"Workflow.day_length":          {says: "For rehearsals: how long a day lasts."},
	"Workflow.send_at":             {says: "The local time of day steps; by default the clinic's own."},
	"Workflow.ignore_quiet_hours":  {says: "Send at any hour; refused for marketing."},
	"Workflow.send_windows":        {says: "When its messages may go, besides the clinic's own hours.", also: schema{"maxItems": workflow.MaxWindows}},
	"Workflow.steps":               {says: "The day list. Give steps or visual_data."},
	"Workflow.visual_data":         {says: "The drawing: React Flow's document as text, or, in a file of JSON, the document itself."},

	"Step.node":          {says: "Its name, the only one in the workflow; by default its place, from 1."},
	"Step.type":          {says: "The author's word for it: survey, photo, message."},
	"Step.day":           {says: "Days after the event. Give exactly one of day, business_days, hours, minutes and seconds."},
	"Step.business_days": {says: "Days of the clinic's calendar after the event."},
	"Step.hours":         {says: "Hours after the event."},
	"Step.minutes":       {says: "Minutes after the event."},
	"Step.seconds":       {says: "Seconds after the event."},
	"Step.send_at":       {says: "The local time of this step of days."},
	"Step.expires_after": {says: "How long after its time it may still be sent; 24h by default."},
	"Step.late":          {says: "What becomes of it when it is late.", also: late},
	"Step.on_unknown":    {says: "What becomes of it when nobody can find out whether it was sent.", also: unknown},
	"Step.template":      {says: "The name of its template."},
	"Step.variables":     {says: "JSON pointers into the event, by variable."},
	"Step.link":          {says: "The value of #{링크}: an https address."},

	"Window.days":  {says: "The days on which it begins; none means every day.", also: schema{"items": schema{"enum": []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}}}},
	"Window.from":  {says: "Local time.", required: true},
	"Window.until": {says: "Local time, not included; before from means the next day.", required: true},

	"Template.name":                {says: "Found by its name.", required: true, also: named},
	"Template.class":               {says: "The legal class, which a human sets; care_followup by default.", also: classes},
	"Template.kakao_template_code": {says: "The code of the approved Alimtalk template."},
	"Template.kakao_status":        {says: "Where Kakao's approval stands; approved by default.", also: schema{"enum": []string{workflow.Approved, workflow.Pending, workflow.Rejected}}},
	"Template.kakao_text":          {says: "The approved text, with its #{variables}."},
	"Template.sms_title":           {says: "The title of a long SMS."},
	"Template.sms_text":            {says: "The SMS, or what is sent where Kakao does not deliver."},

	"TriggerData.event":        {says: "Only events of this name, or that end in a point and this name; empty for any."},
	"TriggerData.surgery_type": {says: "Only events of this surgery."},

	"MessageData.template":      {says: "The name of its template."},
	"MessageData.message":       {says: "The text itself, in place of a template."},
	"MessageData.variables":     {says: "JSON pointers into the event, by variable."},
	"MessageData.link":          {says: "The value of #{링크}: an https address."},
	"MessageData.url":           {says: "Another name of link."},
	"MessageData.expires_after": {says: "How long after its time it may still be sent; 24h by default."},
	"MessageData.late":          {says: "What becomes of it when it is late.", also: late},
	"MessageData.on_unknown":    {says: "What becomes of it when nobody can find out whether it was sent.", also: unknown},

	"Message.template":            {says: "A name for it in logs."},
	"Message.class":               {says: "The legal class.", required: true, also: classes},
	"Message.kakao_template_code": {says: "The code of the approved Alimtalk template."},
	"Message.kakao_text":          {says: "The approved text."},
	"Message.sms_title":           {says: "The title of a long SMS."},
	"Message.sms_text":            {says: "The SMS, or what is sent where Kakao does not deliver."},
	"Message.variables":           {says: "JSON pointers into the event, by variable."},
	"Message.values":              {says: "Values that are the same for everybody, by variable."},

	"DelayData.seconds":       {says: "Give exactly one of seconds, minutes, hours, days, business_days, until and field.", also: schema{"minimum": 0}},
	"DelayData.minutes":       {says: "Minutes.", also: schema{"minimum": 0}},
	"DelayData.hours":         {says: "Hours.", also: schema{"minimum": 0}},
	"DelayData.days":          {says: "Calendar days.", also: schema{"minimum": 0, "maximum": 400}},
	"DelayData.business_days": {says: "Days on which clinics work.", also: schema{"minimum": 0, "maximum": 200}},
	"DelayData.until":         {says: "The next time that it is so late, local."},
	"DelayData.field":         {says: "A JSON pointer to a date of the event; a length beside it is counted from there."},
	"DelayData.at":            {says: "The local time of days and dates."},
	"DelayData.before":        {says: "The length is before the date of field."},

	"ConditionData.expression": {says: "True or false, in CEL; the ways out are true and false."},
	"ConditionData.branches":   {says: "The first that holds; else the way out else.", also: schema{"maxItems": 20}},
	"WhenBranch.handle":        {says: "The way out.", required: true, also: schema{"minLength": 1}},
	"WhenBranch.expression":    {says: "True or false, in CEL.", required: true, also: schema{"minLength": 1, "maxLength": 2000}},

	"WaitData.event":   {says: "What is waited for; the way out is event.", required: true, also: schema{"enum": workflow.Awaited}},
	"WaitData.timeout": {says: "How long; the way out is then timeout.", required: true},

	"SplitData.branches": {says: "Together 100 percent; a patient always goes the same way.", required: true, also: schema{"minItems": 2, "maxItems": 20}},
	"Share.handle":       {says: "The way out.", required: true, also: schema{"minLength": 1}},
	"Share.percent":      {says: "Its share.", also: schema{"minimum": 0, "maximum": 100}},
}
