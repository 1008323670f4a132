package simulator

// smsRequest is a request to send texts, as the guide has it.
type smsRequest struct {
	templateID, title, body, sendNo, requestDate string
	senderGroup, userID, statsID, originCode     string
	attachments                                  int
	recipients                                   []smsRecipient
	bad                                          string
	unknown                                      []string
}

type smsRecipient struct {
	no, country, international, key string
}

// readSMS reads a request; it reports false for what is not one JSON object.
func readSMS(body []byte) (q smsRequest, ok bool) {
	r, ok := newReader(body)
	if !ok {
		return q, false
	}
	r.object("body", func(name string) {
		switch name {
		case "templateId":
			q.templateID = r.text(name)
		case "title":
			q.title = r.text(name)
		case "body":
			q.body = r.text(name)
		case "sendNo":
			q.sendNo = r.text(name)
		case "requestDate":
			q.requestDate = r.text(name)
		case "senderGroupingKey":
			q.senderGroup = r.text(name)
		case "userId":
			q.userID = r.text(name)
		case "statsId":
			q.statsID = r.text(name)
		case "originCode":
			q.originCode = r.text(name)
		case "attachFileIdList":
			r.array(name, func() { r.integer(name); q.attachments++ })
		case "recipientList":
			q.recipients = nil // of a doubled field the last counts
			r.array(name, func() {
				q.recipients = append(q.recipients, smsRecipient{})
				q.recipients[len(q.recipients)-1].read(r)
			})
		default:
			r.other(name)
		}
	})
	q.bad, q.unknown = r.bad, r.unknown
	return q, true
}

func (p *smsRecipient) read(r *reader) {
	r.object("recipientList", func(name string) {
		switch name {
		case "recipientNo":
			p.no = r.text(name)
		case "countryCode":
			p.country = r.text(name)
		case "internationalRecipientNo":
			p.international = r.text(name)
		case "recipientGroupingKey":
			p.key = r.text(name)
		case "templateParameter":
			r.container(name)
		default:
			r.other(name)
		}
	})
}

// number returns the recipient as NHN addresses it: recipientNo with its
// country code, or else internationalRecipientNo.
func (p *smsRecipient) number() string {
	switch {
	case p.no == "":
		return national(p.international)
	case p.country == "" || p.country == "82":
		return national(p.no)
	}
	return p.country + national(p.no)
}

func (q *smsRequest) numbers(yield func(string) bool) {
	for i := range q.recipients {
		if !yield(q.recipients[i].number()) {
			return
		}
	}
}
