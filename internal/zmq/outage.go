package zmq

import (
	"net"
	"time"
)

// probes is how often the kernel asks a silent peer during an outage.
const probes = 3

// leastOutage is that of two probes. What is shorter would end connections over
// which an answer takes its time.
const leastOutage = 2 * time.Second

// limitOutage sees to it that a connection over TCP ends after d without an
// answer of the other host: to what was written, or, when nothing was, to a probe
// of the kernel. Others are left as they are.
func limitOutage(nc net.Conn, d time.Duration) error {
	c, ok := nc.(*net.TCPConn)
	if !ok || d <= 0 {
		return nil
	}
	d = max(d, leastOutage)
	// Probes are counted in whole seconds.
	pause := max((d+probes-1)/probes, time.Second)
	err := c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: pause, Interval: pause, Count: probes})
	if err != nil {
		return err
	}
	return limitUnanswered(c, d)
}

// SetOutage sets another [Config.Outage] for this link.
func (l *Link) SetOutage(d time.Duration) error { return limitOutage(l.nc, d) }
