package simulator

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// Template is an Alimtalk template.
type Template struct {
	// SenderKey limits it to one sender; "" belongs to every sender.
	SenderKey string `json:"sender_key,omitempty"`
	// Code is at most 20 characters.
	Code string `json:"code"`
	// Content is the text with #{placeholders}; "" takes any parameters and
	// any text.
	Content string `json:"content,omitempty"`
	// Status is TSC01 requested, TSC02 in review, TSC03 approved or TSC04
	// rejected; "" is TSC03.
	Status string `json:"status,omitempty"`
	// Dormant and Blocked templates cannot be sent; a Stopped one is accepted
	// and fails with 4133.
	Dormant bool `json:"dormant,omitempty"`
	Blocked bool `json:"blocked,omitempty"`
	Stopped bool `json:"stopped,omitempty"`
}

// magicTemplates are known to every sender; besides them every code that
// begins with SIM_OK is approved and takes any parameters.
var magicTemplates = []Template{
	{Code: "SIM_OK"},
	{Code: "SIM_REQ", Status: "TSC01"},
	{Code: "SIM_REV", Status: "TSC02"},
	{Code: "SIM_REJ", Status: "TSC04"},
	{Code: "SIM_DORM", Dormant: true},
	{Code: "SIM_BLOCK", Blocked: true},
	{Code: "SIM_STOP", Stopped: true},
}

var templateStatuses = map[string]string{"TSC01": "요청", "TSC02": "검수 중", "TSC03": "승인", "TSC04": "반려"}

// template is a template with its content taken apart: pieces alternate
// between text and placeholder names, text first.
type template struct {
	Template
	pieces []string
}

func (t *template) sendable() bool { return t.Status == "TSC03" && !t.Dormant && !t.Blocked }

func parseTemplate(t Template) (*template, error) {
	if t.Status == "" {
		t.Status = "TSC03"
	}
	switch {
	case t.Code == "" || utf8.RuneCountInString(t.Code) > 20:
		return nil, errors.New("simulator: a template needs a code of 1 to 20 characters")
	case templateStatuses[t.Status] == "":
		return nil, errors.New("simulator: a template's status is TSC01, TSC02, TSC03 or TSC04")
	case utf8.RuneCountInString(t.Content) > alimtalkChars:
		return nil, fmt.Errorf("simulator: a template's content has at most %d characters", alimtalkChars)
	}
	p := &template{Template: t}
	rest := t.Content
	for {
		text, tail, ok := strings.Cut(rest, "#{")
		if !ok {
			break
		}
		name, after, ok := strings.Cut(tail, "}")
		if !ok {
			return nil, errors.New("simulator: a template's placeholder is not closed; write #{name}")
		}
		p.pieces = append(p.pieces, text, name)
		rest = after
	}
	p.pieces = append(p.pieces, rest)
	return p, nil
}

// render makes one recipient's text; code is the refusal of parameters or a
// text that do not fit the template.
func (t *template) render(p *alimtalkRecipient, raw, firstUser bool) (text string, code int) {
	for _, v := range p.params {
		if utf8.RuneCountInString(v.value) > alimtalkChars || utf8.RuneCountInString(v.name) > alimtalkChars {
			return "", -3048
		}
		if firstUser && utf8.RuneCountInString(v.value) > utf8.RuneCountInString(v.name)+len("#{}")+firstUserGrowth {
			return "", -1028
		}
	}
	switch {
	case raw && p.content == "":
		return "", -2001
	case raw && t.Content != "" && !t.matches(p.content):
		return "", -3010
	case raw:
		text = p.content
	case t.Content == "":
		text = freeText(t.Code, p.params)
	default:
		text, code = t.substitute(p)
	}
	if code == 0 && utf8.RuneCountInString(text) > alimtalkChars {
		return "", -2019
	}
	return text, code
}

// substitute puts the parameters in: -3049 where one that the template names
// is missing, -3004 where its value is empty.
func (t *template) substitute(p *alimtalkRecipient) (string, int) {
	var b strings.Builder
	b.WriteString(t.pieces[0])
	for i := 1; i < len(t.pieces); i += 2 {
		j := slices.IndexFunc(p.params, func(v param) bool { return v.name == t.pieces[i] })
		if j < 0 {
			return "", -3049
		}
		if p.params[j].value == "" {
			return "", -3004
		}
		b.WriteString(p.params[j].value)
		b.WriteString(t.pieces[i+1])
	}
	return b.String(), 0
}

// matches reports whether a whole text can have come from the template.
func (t *template) matches(text string) bool {
	rest, ok := strings.CutPrefix(text, t.pieces[0])
	if !ok {
		return false
	}
	for i := 2; i < len(t.pieces); i += 2 {
		if i == len(t.pieces)-1 {
			return len(rest) > len(t.pieces[i]) && strings.HasSuffix(rest, t.pieces[i])
		}
		// A value is not empty, so the fixed text is looked for after it.
		at := strings.Index(rest[min(1, len(rest)):], t.pieces[i])
		if at < 0 {
			return false
		}
		rest = rest[min(1, len(rest))+at+len(t.pieces[i]):]
	}
	return rest == ""
}

// freeText is what the handset shows of a template without a content.
func freeText(code string, params []param) string {
	var b strings.Builder
	b.WriteString("[" + code + "]")
	for _, p := range params {
		b.WriteString(" " + p.name + "=" + p.value)
	}
	return b.String()
}

// templates are the known templates by sender and code.
type templates struct {
	mu sync.RWMutex
	m  map[[2]string]*template
}

func newTemplates(more []Template) *templates {
	t := &templates{m: make(map[[2]string]*template)}
	for _, x := range append(slices.Clone(magicTemplates), more...) {
		_ = t.add(x) // checked by Config.Check
	}
	return t
}

func (t *templates) add(x Template) error {
	p, err := parseTemplate(x)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.m[[2]string{x.SenderKey, x.Code}] = p
	return nil
}

// find returns a sender's template, its own before the common one.
func (t *templates) find(sender, code string) (*template, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, k := range [2][2]string{{sender, code}, {"", code}} {
		if p, ok := t.m[k]; ok {
			return p, true
		}
	}
	if strings.HasPrefix(code, "SIM_OK") {
		return &template{Template: Template{Code: code, Status: "TSC03"}, pieces: []string{""}}, true
	}
	return nil, false
}

// of returns a sender's templates by code.
func (t *templates) of(sender string) []*template {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var list []*template
	for k, p := range t.m {
		if k[0] == sender || k[0] == "" && t.m[[2]string{sender, k[1]}] == nil {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b *template) int { return strings.Compare(a.Code, b.Code) })
	return list
}

// AddTemplate makes a template known, in place of one of the same sender and
// code.
func (s *Simulator) AddTemplate(t Template) error { return s.templates.add(t) }
