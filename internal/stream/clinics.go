package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// ServeAuth answers the servers' questions who a connection is until ctx ends;
// several processes share them. A nil answer is none. ready is called once the
// server knows that it may ask: it asks only once about each connection.
func (c *Conn) ServeAuth(ctx context.Context, ready func(), answer func(context.Context, []byte) []byte) error {
	asked := make(chan *nats.Msg, 256)
	sub, err := c.nc.ChanQueueSubscribe(authRequests, "clinics", asked)
	if err != nil {
		return fmt.Errorf("stream: serve authorization: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := c.nc.FlushTimeout(2 * time.Second); err != nil {
		c.log.Warn("serve authorization", "err", err) // it is told when the connection is back
	}
	ready()
	turns := make(chan struct{}, authAtOnce)
	for {
		select {
		case <-ctx.Done():
			for range authAtOnce {
				turns <- struct{}{} // the last answers
			}
			return nil
		case m := <-asked:
			turns <- struct{}{}
			go func() {
				defer func() { <-turns }()
				ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
				defer cancel()
				if text := answer(ctx, m.Data); text != nil {
					if err := m.Respond(text); err != nil {
						c.log.Warn("answer a connection", "err", err)
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
