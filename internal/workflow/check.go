package workflow

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/doctorsflow/doctorsflow/internal/strictjson"
	"github.com/doctorsflow/doctorsflow/internal/template"
)

// Problem is one thing that keeps a definition from being published.
type Problem struct {
	// Node is the id of the node of a drawing, or the name of the step, that the
	// problem is about.
	Node    string `json:"node,omitempty"`
	Pointer string `json:"pointer"` // RFC 6901, into the definition
	English string `json:"message"`
	Korean  string `json:"message_ko"`
}

// Builtin lists the variables that every message may use without a mapping.
var Builtin = []string{"환자명", "병원명", "병원전화", "patient", "clinic", "clinic_phone"}

var nodeName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Check returns every problem of d, or none. What it passes can be planned
// and rendered, given a value for each variable.
func Check(d *Definition) []Problem {
	var c checker
	if d.Drawing != nil {
		c.checkDrawing(d)
		c.ownHours(d)
		return c.problems
	}
	if len(d.Steps) == 0 {
		c.add("/steps", "a workflow needs at least one step", "단계가 하나 이상 필요합니다")
	}
	if len(d.Steps) > MaxSteps {
		c.add("/steps", fmt.Sprintf("at most %d steps are allowed", MaxSteps), fmt.Sprintf("단계는 최대 %d개입니다", MaxSteps))
		return c.problems
	}
	if d.DayLength != 0 && (time.Duration(d.DayLength) < 10*time.Millisecond || time.Duration(d.DayLength) > 48*time.Hour) {
		c.add("/day_length", "a day length lies between 10ms and 48h", "하루 길이는 10ms에서 48h 사이여야 합니다")
	}
	seen := map[string]bool{}
	for i, s := range d.Steps {
		at := "/steps/" + strconv.Itoa(i)
		c.about = s.Node
		if !nodeName.MatchString(s.Node) {
			c.add(at+"/node", "a node name is 1 to 64 letters, digits, - or _", "노드 이름은 영문, 숫자, -, _ 1~64자입니다")
		}
		if seen[s.Node] {
			c.add(at+"/node", "another step has the same node name", "같은 노드 이름이 이미 있습니다")
		}
		seen[s.Node] = true
		c.timing(at, s)
		c.link(at, s.Message.Values[Link])
		if s.Message.Values[Link] != "" && !s.Message.uses(Link) {
			c.add(at+"/link", "the link is nowhere in the text: write #{링크} where it belongs", "본문에 링크가 없습니다: 들어갈 자리에 #{링크}를 쓰세요")
		}
		c.message(at+"/message", s.Message, d.IgnoreQuietHours)
		if s.OnUnknown == Fallback && !(s.Message.HasKakao() && s.Message.HasSMS()) {
			c.add(at+"/on_unknown", "fallback needs a Kakao template and an SMS text", "대체 발송에는 카카오 템플릿과 문자 내용이 모두 필요합니다")
		}
	}
	c.about = ""
	c.ownHours(d)
	return c.problems
}

// maxBusinessDays is [MaxDelay] with two calendar days for each.
const maxBusinessDays = int(MaxDelay / (48 * time.Hour))

type checker struct {
	problems []Problem
	about    string // the node that is looked at
}

func (c *checker) add(pointer, english, korean string) {
	c.problems = append(c.problems, Problem{Node: c.about, Pointer: pointer, English: english, Korean: korean})
}

func (c *checker) timing(at string, s Step) {
	set := 0
	for _, v := range []*int{s.Day, s.BusinessDays, s.Hours, s.Minutes, s.Seconds} {
		if v == nil {
			continue
		}
		set++
		if *v < 0 {
			c.add(at, "a step cannot lie before its trigger", "단계는 트리거보다 앞설 수 없습니다")
		}
	}
	if set != 1 {
		c.add(at, "give exactly one of day, business_days, hours, minutes or seconds", "day, business_days, hours, minutes, seconds 중 하나만 지정하세요")
	}
	tooFar := s.BusinessDays != nil && *s.BusinessDays > maxBusinessDays || s.Day != nil && *s.Day > int(MaxDelay/(24*time.Hour)) ||
		s.Hours != nil && *s.Hours > int(MaxDelay/time.Hour) ||
		s.Minutes != nil && *s.Minutes > int(MaxDelay/time.Minute) ||
		s.Seconds != nil && *s.Seconds > int(MaxDelay/time.Second)
	if tooFar {
		c.add(at, "a step lies at most 400 days ahead", "단계는 최대 400일 뒤까지 가능합니다")
	}
	if s.ExpiresAfter < 0 || time.Duration(s.ExpiresAfter) > MaxDelay {
		c.add(at+"/expires_after", "a step stays valid between 0 and 400 days", "유효 기간은 0~400일입니다")
	}
	if s.SendAt != nil && s.Day == nil && s.BusinessDays == nil {
		c.add(at+"/send_at", "send_at belongs to a step of day or business_days", "send_at은 day, business_days 단계에만 쓸 수 있습니다")
	}
	if !slices.Contains([]Late{"", LateSend, LateSkip, LateExpire}, s.Late) {
		c.add(at+"/late", "late is send, skip or expire", "late는 send, skip, expire 중 하나입니다")
	}
	if !slices.Contains([]OnUnknown{"", Park, Resend, Fallback}, s.OnUnknown) {
		c.add(at+"/on_unknown", "on_unknown is park, resend or fallback", "on_unknown은 park, resend, fallback 중 하나입니다")
	}
}

func (c *checker) message(at string, m Message, ignoreQuiet bool) {
	if !slices.Contains([]Class{Transactional, CareFollowup, Marketing, Auth}, m.Class) {
		c.add(at+"/class", "class is transactional, care_followup, marketing or auth", "class는 transactional, care_followup, marketing, auth 중 하나입니다")
	}
	if !m.HasKakao() && !m.HasSMS() {
		c.add(at, "a message needs a Kakao template, an SMS text, or both", "카카오 템플릿이나 문자 내용이 필요합니다")
	}
	if m.HasKakao() && m.KakaoText == "" {
		c.add(at+"/kakao_text", "an approved template's text must be given, to know its variables", "승인된 템플릿의 본문이 필요합니다")
	}
	if m.HasKakao() && !slices.Contains([]string{"", Approved}, m.KakaoStatus) {
		c.add(at+"/kakao_template_code", fmt.Sprintf("Kakao has not approved the template: it is %s. Change kakao_status once it has", m.KakaoStatus), fmt.Sprintf("카카오에서 승인되지 않은 템플릿입니다 (%s). 승인되면 kakao_status를 바꾸세요", m.KakaoStatus))
	}
	if m.Class == Marketing && ignoreQuiet {
		c.add(at, "marketing must keep quiet hours", "광고성 메시지는 야간 제한을 지켜야 합니다")
	}
	if m.Class == Marketing && m.HasKakao() {
		c.add(at, "Alimtalk is for information only; marketing goes by SMS", "알림톡은 정보성만 가능합니다")
	}
	if utf8.RuneCountInString(m.KakaoText) > 1000 {
		c.add(at+"/kakao_text", "an Alimtalk has at most 1,000 characters", "알림톡은 1,000자까지입니다")
	}
	if m.KakaoText != "" {
		c.text(at+"/kakao_text", m.KakaoText, m)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Variables)) {
		if p := m.Variables[name]; p == "" || strictjson.ValidPointer(p) != nil {
			c.add(at+"/variables", fmt.Sprintf("#{%s}: %q is not a JSON pointer such as /appointment/surgery", name, p), fmt.Sprintf("#{%s}: JSON 포인터(예: /appointment/surgery)가 아닙니다", name))
		}
	}
	if m.HasSMS() {
		c.text(at+"/sms_text", m.SMSText, m)
		if n, bad := template.EUCKRBytes(m.SMSText); len(bad) > 0 {
			c.add(at+"/sms_text", fmt.Sprintf("these characters cannot be sent by SMS: %q", string(bad)), fmt.Sprintf("문자로 보낼 수 없는 글자가 있습니다: %q", string(bad)))
		} else if n > 2000 {
			c.add(at+"/sms_text", "an LMS has at most 2,000 bytes", "장문 문자는 2,000바이트까지입니다")
		}
		if n, bad := template.EUCKRBytes(m.SMSTitle); n > template.MaxTitle || len(bad) > 0 {
			c.add(at+"/sms_title", "a title has at most 40 bytes of EUC-KR", "제목은 EUC-KR 40바이트까지입니다")
		} else if strings.Contains(m.SMSTitle, "#{") || strings.Contains(m.SMSTitle, "##") || strings.ContainsAny(m.SMSTitle, "\n\r\t") {
			c.add(at+"/sms_title", "a title is one line and has no variables", "제목은 한 줄이며 변수를 쓸 수 없습니다")
		}
	}
}

func (c *checker) text(at, text string, m Message) {
	t, err := template.Compile(text)
	if err != nil {
		c.add(at, "the text's #{variables} cannot be read: "+err.Error(), "#{변수} 표기를 읽을 수 없습니다")
		return
	}
	for _, v := range t.Variables() {
		_, mapped := m.Variables[v]
		if _, fixed := m.Values[v]; !mapped && !fixed && !slices.Contains(Builtin, v) {
			c.add(at, fmt.Sprintf("nothing gives a value to #{%s}; map it under variables", v), fmt.Sprintf("#{%s}의 값이 정해지지 않았습니다. variables에 지정하세요", v))
		}
	}
}
