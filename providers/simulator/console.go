package simulator

import (
	"slices"
	"strings"
)

// What a console shows: senders, templates and sender numbers.

// listed pages any list.
func listed[T any](all []T, no, size int) []T {
	from := min((no-1)*size, len(all))
	return all[from:min(from+size, len(all))]
}

// since is the date that fixtures were registered on.
const since = "2026-01-02 10:00:00"

func (s *Simulator) senderFields(x *Sender) map[string]any {
	profileStatus, profileName := "A", "활성화"
	if x.Blocked {
		profileStatus, profileName = "B", "차단"
	}
	return map[string]any{
		"plusFriendId": plusFriend(x.Key), "senderKey": x.Key, "categoryCode": "00100010001",
		"status": "YSC03", "statusName": "정상 등록", "kakaoStatus": "A", "kakaoStatusName": "정상",
		"kakaoProfileStatus": profileStatus, "kakaoProfileStatusName": profileName,
		"profileSpamLevel": "정상", "profileMessageSpamLevel": "정상",
		"alimtalk": map[string]any{
			"resendAppKey": orNull(x.ResendAppKey), "isResend": x.Resend, "resendSendNo": orNull(x.ResendSendNo),
			"dailyMaxCount": s.set.Load().rules.KakaoDaily, "sentCount": s.quotas.used("kakao/" + x.Key),
		},
		"dormant": x.Dormant, "block": x.Blocked, "createDate": since, "initialUserRestriction": x.FirstUser,
	}
}

func (s *Simulator) oneSender(c *call) answer {
	x, ok := s.fixtures.sender(c.args[0])
	if !ok {
		return c.refuse(-2017)
	}
	return c.alimtalk("sender", s.senderFields(&x))
}

func (s *Simulator) listSenders(c *call) answer {
	no, size, ok := c.page()
	if !ok {
		return c.refuse(-2005)
	}
	key, friend, status := c.arg("senderKey"), c.arg("plusFriendId"), c.arg("status")
	all := []map[string]any{}
	for _, x := range s.fixtures.allSenders() {
		if (key == "" || x.Key == key) && (friend == "" || plusFriend(x.Key) == friend) && (status == "" || status == "YSC03") {
			all = append(all, s.senderFields(&x))
		}
	}
	return reply(0, map[string]any{"header": headerOf(Alimtalk, 0), "senders": listed(all, no, size), "totalCount": len(all)})
}

func (f *fixtures) allSenders() []Sender {
	f.mu.RLock()
	defer f.mu.RUnlock()
	list := make([]Sender, 0, len(f.senders))
	for _, x := range f.senders {
		list = append(list, x)
	}
	slices.SortFunc(list, func(a, b Sender) int { return strings.Compare(a.Key, b.Key) })
	return list
}

func templateFields(t *template, sender string) map[string]any {
	return map[string]any{
		"plusFriendId": plusFriend(sender), "senderKey": sender, "plusFriendType": "NORMAL",
		"templateCode": t.Code, "kakaoTemplateCode": t.Code, "templateName": t.Code,
		"templateMessageType": "BA", "templateEmphasizeType": "NONE", "templateContent": t.Content,
		"buttons": []any{}, "quickReplies": []any{}, "comments": []any{},
		"status": t.Status, "statusName": templateStatuses[t.Status], "securityFlag": false, "categoryCode": "999999",
		"block": t.Blocked, "dormant": t.Dormant, "createDate": since, "updateDate": since,
	}
}

func (s *Simulator) listTemplates(c *call) answer {
	no, size, ok := c.page()
	if !ok {
		return c.refuse(-2005)
	}
	if _, ok := s.fixtures.sender(c.args[0]); !ok {
		return c.refuse(-2017)
	}
	code, name, status := c.arg("templateCode"), c.arg("templateName"), c.arg("templateStatus")
	all := []map[string]any{}
	for _, t := range s.templates.of(c.args[0]) {
		if (code == "" || t.Code == code) && (name == "" || t.Code == name) && (status == "" || t.Status == status) {
			all = append(all, templateFields(t, c.args[0]))
		}
	}
	return c.alimtalk("templateListResponse", map[string]any{"templates": listed(all, no, size), "totalCount": len(all)})
}

func (s *Simulator) oneTemplate(c *call) answer {
	if _, ok := s.fixtures.sender(c.args[0]); !ok {
		return c.refuse(-2017)
	}
	t, ok := s.templates.find(c.args[0], c.args[1])
	if !ok {
		return c.refuse(-3003)
	}
	return c.alimtalk("template", templateFields(t, c.args[0]))
}

func (s *Simulator) listSendNos(c *call) answer {
	no, size, ok := c.page()
	if !ok {
		return c.refuse(-1005)
	}
	use, block := c.arg("useYn"), c.arg("blockYn")
	all := []map[string]any{}
	for _, x := range s.fixtures.allSendNos(strings.ReplaceAll(c.arg("sendNo"), "-", "")) {
		if use == "N" || block != "" && block != yn(x.Blocked) {
			continue
		}
		f := map[string]any{
			"appKey": nil, "serviceId": 1, "sendNo": x.No, "useYn": "Y", "blockYn": yn(x.Blocked), "blockReason": nil,
			"createDate": since, "createUser": "simulator", "updateDate": since, "updateUser": nil,
		}
		if x.Blocked {
			f["blockReason"] = "발신 번호 도용 신고"
		}
		all = append(all, f)
	}
	return reply(0, smsPage(no, size, len(all), listed(all, no, size)))
}

// allSendNos returns the number asked for, or every registered one.
func (f *fixtures) allSendNos(no string) []SendNo {
	if no != "" {
		if x, ok := f.sendNo(no); ok {
			return []SendNo{x}
		}
		return nil
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	list := make([]SendNo, 0, len(f.sendNos))
	for _, x := range f.sendNos {
		list = append(list, x)
	}
	slices.SortFunc(list, func(a, b SendNo) int { return strings.Compare(a.No, b.No) })
	return list
}

// used returns how much of today's quota is used up.
func (q *quotas) used(who string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if u, ok := q.m[who]; ok {
		return u.used
	}
	return 0
}
