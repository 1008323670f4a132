package simulator

// alimtalkRequest is a request to send Alimtalk, as the guide has it.
type alimtalkRequest struct {
	senderKey, templateCode, requestDate string
	senderGroup, createUser, statsID     string
	recipients                           []alimtalkRecipient
	bad                                  string
	unknown                              []string
}

type alimtalkRecipient struct {
	no, key   string
	content   string // raw-messages only
	params    []param
	hasParams bool
	resend    resendParam
}

// param is one template parameter.
type param struct{ name, value string }

type resendParam struct {
	isResend                    tri
	typ, title, content, sendNo string
}

// readAlimtalk reads a request; it reports false for what is not one JSON
// object.
func readAlimtalk(body []byte) (q alimtalkRequest, ok bool) {
	r, ok := newReader(body)
	if !ok {
		return q, false
	}
	r.object("body", func(name string) {
		switch name {
		case "senderKey":
			q.senderKey = r.text(name)
		case "templateCode":
			q.templateCode = r.text(name)
		case "requestDate":
			q.requestDate = r.text(name)
		case "senderGroupingKey":
			q.senderGroup = r.text(name)
		case "createUser":
			q.createUser = r.text(name)
		case "statsId":
			q.statsID = r.text(name)
		case "messageOption":
			r.container(name)
		case "recipientList":
			q.recipients = nil // of a doubled field the last counts
			r.array(name, func() {
				q.recipients = append(q.recipients, alimtalkRecipient{})
				q.recipients[len(q.recipients)-1].read(r)
			})
		default:
			r.other(name)
		}
	})
	q.bad, q.unknown = r.bad, r.unknown
	return q, true
}

func (p *alimtalkRecipient) read(r *reader) {
	r.object("recipientList", func(name string) {
		switch name {
		case "recipientNo":
			p.no = r.text(name)
		case "recipientGroupingKey":
			p.key = r.text(name)
		case "content":
			p.content = r.text(name)
		case "templateParameter":
			p.params = nil
			p.hasParams = r.object(name, func(key string) {
				p.params = append(p.params, param{key, r.text(name)})
			})
		case "resendParameter":
			r.object(name, func(field string) { p.resend.read(r, field) })
		case "buttons", "quickReplies", "templateItem", "templateItemHighlight", "templateRepresentLink":
			r.container(name)
		case "templateTitle", "templateHeader":
			r.text(name)
		default:
			r.other(name)
		}
	})
}

func (p *resendParam) read(r *reader, field string) {
	switch field {
	case "isResend":
		p.isResend = r.boolean(field)
	case "resendType":
		p.typ = r.text(field)
	case "resendTitle":
		p.title = r.text(field)
	case "resendContent":
		p.content = r.text(field)
	case "resendSendNo":
		p.sendNo = r.text(field)
	default:
		r.other(field)
	}
}

func (q *alimtalkRequest) numbers(yield func(string) bool) {
	for i := range q.recipients {
		if !yield(national(q.recipients[i].no)) {
			return
		}
	}
}
