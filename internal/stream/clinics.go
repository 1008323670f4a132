package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/doctorsflow/doctorsflow/internal/natsauth"
)

// The subjects on which a server asks who a connection is, and on which the
// account APP may look after the account [natsauth.Account]
// (https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_callout,
// https://docs.nats.io/running-a-nats-service/configuration/sys_accounts).
const (
	authRequests = "$SYS.REQ.USER.AUTH"
	clinicList   = "$SYS.REQ.ACCOUNT." + natsauth.Account + ".CONNZ"
	endClient    = "$SYS.REQ.SERVER.%s.KICK"
)

// authAtOnce is how many questions are answered at a time. More wait; a server
// gives up on one after two seconds, and the client tries again.
const authAtOnce = 4

// AuthQuestions are the servers' questions who a connection is.
type AuthQuestions struct {
	sub   *nats.Subscription
	asked chan *nats.Msg
	log   *slog.Logger
}

// AuthQuestions has the servers ask here, from now on: what they asked before
// [AuthQuestions.Serve] begins is answered then. A server asks once about each
// connection, and refuses it where nobody is there. Several processes share the
// questions.
func (c *Conn) AuthQuestions() (*AuthQuestions, error) {
	q := &AuthQuestions{asked: make(chan *nats.Msg, 256), log: c.log}
	var err error
	if q.sub, err = c.nc.ChanQueueSubscribe(authRequests, "clinics", q.asked); err == nil {
		err = c.nc.FlushTimeout(2 * time.Second)
	}
	if err != nil {
		return nil, fmt.Errorf("stream: take the servers' questions: %w", err)
	}
	return q, nil
}

// Serve answers until ctx ends. A nil answer is none.
func (q *AuthQuestions) Serve(ctx context.Context, answer func(context.Context, []byte) []byte) error {
	defer func() { _ = q.sub.Unsubscribe() }()
	turns := make(chan struct{}, authAtOnce)
	for {
		select {
		case <-ctx.Done():
			for range authAtOnce {
				turns <- struct{}{} // the last answers
			}
			return nil
		case m := <-q.asked:
			turns <- struct{}{}
			go func() {
				defer func() { <-turns }()
				ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
				defer cancel()
				if text := answer(ctx, m.Data); text != nil {
					if err := m.Respond(text); err != nil {
						q.log.Warn("answer a connection", "err", err)
					}
				}
			}()
		}
	}
}

// listWait is how long a server may take to list its connections.
const listWait = 500 * time.Millisecond

// ClinicConnections asks every server for the connections of
// [natsauth.Account], at most 1,024 of each. A server that has none may stay
// silent; one that does not answer in time is asked again at the next look.
func (c *Conn) ClinicConnections(ctx context.Context) (list []natsauth.Connection, err error) {
	inbox := c.nc.NewInbox()
	sub, err := c.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("stream: list clinic connections: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := c.nc.PublishRequest(clinicList, inbox, []byte(`{"auth":true,"limit":1024}`)); err != nil {
		return nil, fmt.Errorf("stream: list clinic connections: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, listWait)
	defer cancel()
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return list, nil
		}
		if errors.Is(err, nats.ErrNoResponders) {
			return nil, errors.New("stream: list clinic connections: the server does not let the pipeline look; take the imports of account APP from deploy/nats/nats.conf")
		}
		if err != nil {
			return nil, fmt.Errorf("stream: list clinic connections: %w", err)
		}
		var reply struct {
			Server struct{ ID string }
			Data   struct {
				Connections []struct {
					CID  uint64 `json:"cid"`
					User string `json:"authorized_user"`
				}
			}
		}
		if err := json.Unmarshal(m.Data, &reply); err != nil {
			return nil, fmt.Errorf("stream: list clinic connections: %w", err)
		}
		for _, one := range reply.Data.Connections {
			list = append(list, natsauth.Connection{Server: reply.Server.ID, ID: one.CID, User: one.User})
		}
	}
}

// Disconnect ends a connection. One that has ended already is no error.
func (c *Conn) Disconnect(ctx context.Context, one natsauth.Connection) error {
	request, err := json.Marshal(map[string]uint64{"cid": one.ID})
	if err != nil {
		return fmt.Errorf("stream: disconnect: %w", err)
	}
	if _, err := c.nc.RequestWithContext(ctx, fmt.Sprintf(endClient, one.Server), request); err != nil {
		return fmt.Errorf("stream: disconnect: %w", err)
	}
	return nil
}
