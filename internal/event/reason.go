package event

import (
	"regexp"
	"strings"
)

// Reason says why a trigger, a run or a step ended as it did, or why a due step
// waits. Every terminal row has exactly one; this file is the whole list.
type Reason string

// Why a step was not sent, or not delivered.
const (
	NoConsent            Reason = "no_consent"
	OptedOut             Reason = "opted_out"
	QuietHoursExpired    Reason = "quiet_hours_expired"
	SendWindowExpired    Reason = "send_window_expired"
	FrequencyCapped      Reason = "frequency_capped"
	Superseded           Reason = "superseded"
	AppointmentCancelled Reason = "appointment_cancelled"
	WorkflowStopped      Reason = "workflow_stopped"
	CampaignCancelled    Reason = "campaign_cancelled"
	FellBack             Reason = "fell_back"
	BranchNotTaken       Reason = "branch_not_taken"
	Late                 Reason = "late"         // its time had passed and its policy is to skip
	TimePassed           Reason = "time_passed"  // expires_at
	Unrenderable         Reason = "unrenderable" // a variable is missing or the text cannot be sent
	NoAccount            Reason = "no_account"   // the tenant has no gateway account for the channel
	NoPhone              Reason = "no_phone"     // the patient has no usable number
	PatientErased        Reason = "patient_erased"
	Merged               Reason = "merged" // the patient was there twice; the other row's message is sent
	ReportTimeout        Reason = "report_timeout"
	OutcomeUnknown       Reason = "outcome_unknown"
	NotAccepted          Reason = "not_accepted" // the gateway says it never had it
	NoFallback           Reason = "fallback_not_permitted"
	Dropped              Reason = "dropped"   // by a human, from the parked list
	ConfirmedByReport    Reason = "delivered" // a report says so
	Accepted             Reason = "accepted"  // the gateway took it; no report yet
	rejectedPrefix       string = "rejected:"
)

// Why a trigger started nothing.
const (
	NoWorkflow       Reason = "no_matching_workflow"
	UnknownPatient   Reason = "unknown_patient"
	AmbiguousPatient Reason = "ambiguous_patient"
	InvalidPatient   Reason = "invalid_patient"
	WorkflowInactive Reason = "workflow_inactive"
	NothingDue       Reason = "no_steps"
	PayloadGone      Reason = "payload_unreadable"
	AlreadyRan       Reason = "already_ran"
	Missed           Reason = "missed"      // a schedule's fire that nobody was there for
	NothingNew       Reason = "nothing_new" // a source that says how things stand said the same again
	Planned          Reason = "planned"
)

// Why a step that is due waits in the ledger. It leaves with the wait.
const (
	RateLimited      Reason = "rate_limited"      // the account's own rate
	GatewayThrottled Reason = "gateway_throttled" // the gateway asks for less
	GatewayDown      Reason = "gateway_down"      // it cannot be reached, or answers nothing usable
	QuietHours       Reason = "quiet_hours"       // of the clinic, or of the law for advertising
	SendWindow       Reason = "send_window"       // of the clinic, or of the workflow
	FrequencyCap     Reason = "frequency_cap"     // the patient has had enough for a day or a week
	Paused           Reason = "paused"            // the clinic, or everybody
	CampaignPaused   Reason = "campaign_paused"
)

// reasons maps each fixed reason to what it means, in English and Korean.
var reasons = map[Reason][2]string{
	NoConsent:            {"the patient has not consented to this kind of message", "환자가 이 종류의 메시지에 동의하지 않음"},
	OptedOut:             {"the patient opted out", "환자가 수신을 거부함"},
	QuietHoursExpired:    {"it expired while waiting for quiet hours to end", "야간 제한이 끝나기 전에 유효 기간이 지남"},
	SendWindowExpired:    {"it expired before a send window opened", "발송 시간대가 열리기 전에 유효 기간이 지남"},
	FrequencyCapped:      {"the patient had as many messages of this kind as the clinic allows", "환자 1인당 발송 횟수 한도를 넘어 보내지 않음"},
	Superseded:           {"the plan changed", "계획이 변경됨"},
	AppointmentCancelled: {"the appointment was cancelled", "예약이 취소됨"},
	WorkflowStopped:      {"the workflow was stopped", "워크플로가 중지됨"},
	CampaignCancelled:    {"the campaign was cancelled", "캠페인이 취소됨"},
	FellBack:             {"Kakao did not deliver it; it went on by SMS", "카카오로 전달되지 않아 문자로 대체 발송"},
	BranchNotTaken:       {"the workflow took another branch", "워크플로가 다른 분기로 진행됨"},
	Late:                 {"its time had passed and its policy is to skip", "예정 시각이 지나 건너뜀"},
	TimePassed:           {"its validity ended before it could be sent", "발송 전에 유효 기간이 끝남"},
	Unrenderable:         {"its text could not be made: a variable is missing or cannot be sent", "문구를 만들 수 없음(변수 누락 또는 발송 불가 문자)"},
	NoAccount:            {"the clinic has no gateway account for this channel", "이 채널의 발송 계정이 없음"},
	NoPhone:              {"the patient has no usable mobile number", "사용할 수 있는 휴대전화 번호가 없음"},
	Merged:               {"the patient was registered twice; the message goes out once", "중복 등록된 환자를 합쳐 같은 메시지는 한 번만 보냄"},
	PatientErased:        {"the patient was erased", "환자 정보가 파기됨"},
	ReportTimeout:        {"the gateway accepted it and never reported", "접수되었으나 결과 보고가 오지 않음"},
	OutcomeUnknown:       {"nobody can say whether the gateway took it", "발송 여부를 확인할 수 없음"},
	NotAccepted:          {"the gateway says that it never had it", "발송사에 접수 기록이 없음"},
	NoFallback:           {"no fallback is allowed for this message", "대체 발송이 허용되지 않는 메시지"},
	Dropped:              {"dropped by staff", "담당자가 폐기함"},
	ConfirmedByReport:    {"the gateway reports it delivered", "전달이 확인됨"},
	Accepted:             {"the gateway accepted it", "발송 접수됨"},
	NoWorkflow:           {"no active workflow starts on this event", "이 이벤트로 시작되는 워크플로가 없음"},
	UnknownPatient:       {"the patient is not known and may not be created", "등록되지 않은 환자"},
	AmbiguousPatient:     {"several patients share this number and none matches by name", "같은 번호의 환자가 여럿이라 특정할 수 없음"},
	InvalidPatient:       {"the patient data cannot be used", "환자 정보를 사용할 수 없음"},
	WorkflowInactive:     {"the workflow is switched off", "워크플로가 꺼져 있음"},
	NothingDue:           {"the workflow has no step for this", "해당하는 단계가 없음"},
	PayloadGone:          {"the payload cannot be read any more", "내용을 더 이상 읽을 수 없음"},
	AlreadyRan:           {"this workflow already ran for this trigger", "이미 실행된 트리거"},
	Missed:               {"nobody was there when it was due, and its policy leaves it out", "예정 시각에 실행되지 못해 건너뜀"},
	NothingNew:           {"it says nothing that was not known", "이미 알고 있는 내용과 같음"},
	RateLimited:          {"it waits its turn: the account's rate is used up", "계정의 발송 속도 한도로 순서를 기다리는 중"},
	GatewayThrottled:     {"it waits: the gateway asks for fewer requests", "발송사의 속도 제한으로 대기 중"},
	GatewayDown:          {"it waits: the gateway cannot be reached or fails", "발송사 장애로 대기 중"},
	QuietHours:           {"it waits for quiet hours to end", "야간 제한이 끝나기를 기다리는 중"},
	SendWindow:           {"it waits for a send window to open", "발송 시간대가 열리기를 기다리는 중"},
	FrequencyCap:         {"it waits for a day on which the patient may have another message of this kind", "환자 1인당 발송 횟수 한도로 다음 날을 기다리는 중"},
	Paused:               {"it waits: sending is paused", "발송이 일시 중지되어 대기 중"},
	CampaignPaused:       {"it waits: the campaign is paused", "캠페인이 일시 중지되어 대기 중"},
	Planned:              {"it started one or more runs", "실행이 시작됨"},
}

var resultCode = regexp.MustCompile(`^[A-Za-z0-9_-]{1,16}$`)

// Rejected is the reason of a definite refusal with the gateway's code; a
// code that is not a short word becomes "other".
func Rejected(code string) Reason {
	if !resultCode.MatchString(code) {
		code = "other"
	}
	return Reason(rejectedPrefix + code)
}

// Code returns the gateway's code of a rejection, or "".
func (r Reason) Code() string {
	code, ok := strings.CutPrefix(string(r), rejectedPrefix)
	if !ok {
		return ""
	}
	return code
}

// Valid reports whether r is on the list.
func (r Reason) Valid() bool {
	if code := r.Code(); code != "" {
		return resultCode.MatchString(code)
	}
	_, ok := reasons[r]
	return ok
}

// English says the reason as a clause.
func (r Reason) English() string { return r.text(0, "refused by the gateway, code ") }

// Korean says the reason as a clause.
func (r Reason) Korean() string { return r.text(1, "발송사에서 거절, 코드 ") }

func (r Reason) text(lang int, refused string) string {
	if code := r.Code(); code != "" {
		return refused + code
	}
	if t, ok := reasons[r]; ok {
		return t[lang]
	}
	return string(r)
}
