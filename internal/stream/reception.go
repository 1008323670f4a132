package stream

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/doctorsflow/doctorsflow/internal/natsauth"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// Said is what a clinic's system published: over a connection of the tenant,
// whatever its words claim.
type Said struct {
	Tenant tenant.ID
	// Kind is the last token of its subject, as the clinic wrote it.
	Kind string
	// Header is as it came; its keys have the case that they were written in.
	Header map[string][]string
	Data   []byte
	// Waits says that somebody waits for the answer.
	Waits bool
}

// Answer gives the receipt of what was said, once: to whoever waits for it,
// else on the clinic's subject for it, [natsauth.ReceiptSubject]. No data is no answer.
type Answer func(event string, data []byte)

// receptionPatience is how long answers may take that are outstanding when the
// reception closes.
const receptionPatience = 15 * time.Second

// Reception takes what clinics' systems say until ctx ends, and then waits for
// the answers that are outstanding. Several processes share what is said. c is
// the way to the broker, with the credentials of [natsauth.ReceptionUser];
// nobody has to answer for them yet when it begins. take must not block, and
// must call its [Answer].
func Reception(ctx context.Context, c Config, take func(Said, Answer)) error {
	opts := append(options(c),
		// The server asks us who we are, so that it refuses us until somebody
		// answers, and again while nobody does.
		nats.RetryOnFailedConnect(true), nats.IgnoreAuthErrorAbort(),
		// Until then a server in this process does not read on, and the bound of
		// a connection's start does not hold for writes.
		nats.FlusherTimeout(time.Second),
	)
	nc, err := nats.Connect(anonymous(c.URL), opts...)
	if err != nil {
		return fmt.Errorf("stream: reception: %w", err)
	}
	defer nc.Close()
	var taken sync.WaitGroup
	sub, err := nc.QueueSubscribe(natsauth.Events, "reception", func(m *nats.Msg) {
		token := strings.Split(m.Subject, ".")
		id, err := tenant.Parse(token[1])
		if err != nil {
			c.Logger.Error("an event came on a subject that no clinic may publish to", "subject", m.Subject)
			return
		}
		// The reply subject is the sender's choice. Another's inbox must not
		// get this clinic's receipts.
		waits := strings.HasPrefix(m.Reply, natsauth.InboxPrefix(id)+".")
		taken.Add(1)
		take(Said{Tenant: id, Kind: token[3], Header: m.Header, Data: m.Data, Waits: waits}, func(event string, data []byte) {
			defer taken.Done()
			to := m.Reply
			if !waits {
				to = natsauth.ReceiptSubject(id, event)
			}
			if len(data) == 0 || !waits && event == "" {
				return
			}
			if err := nc.Publish(to, data); err != nil {
				c.Logger.Warn("a receipt was not given", "tenant", id, "err", err)
			}
		})
	})
	if err != nil {
		return fmt.Errorf("stream: reception: %w", err)
	}
	emptied, answered := make(chan struct{}), make(chan struct{})
	empty := sync.OnceFunc(func() { close(emptied) })
	sub.SetClosedHandler(func(string) { empty() })
	<-ctx.Done()
	if sub.Drain() != nil {
		empty() // without a connection nothing comes
	}
	go func() {
		defer close(answered)
		<-emptied // nothing more is taken
		taken.Wait()
	}()
	select {
	case <-answered:
	case <-time.After(receptionPatience):
		c.Logger.Warn("receipts are outstanding; whoever waits for one asks again")
	}
	_ = nc.FlushTimeout(time.Second)
	return nil
}

// anonymous takes out of a list of servers who the pipeline is there: it would
// hold against the credentials.
func anonymous(servers string) string {
	list := strings.Split(servers, ",")
	for i, one := range list {
		if u, err := url.Parse(strings.TrimSpace(one)); err == nil {
			u.User = nil
			list[i] = u.String()
		}
	}
	return strings.Join(list, ",")
}
