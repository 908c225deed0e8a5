package server

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxBuckets is how many addresses or issuers are remembered.
const maxBuckets = 1 << 16

// buckets let each key have so many a second, and so many at once.
type buckets struct {
	rate, burst float64
	now         func() time.Time

	mu sync.Mutex
	of map[string]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

// newBuckets makes buckets, or nil if there is no limit.
func newBuckets(rate float64, burst int, now func() time.Time) *buckets {
	if rate <= 0 {
		return nil
	}
	return &buckets{rate: rate, burst: max(float64(burst), rate, 1), now: now, of: map[string]bucket{}}
}

// take takes n out of the bucket of key, and reports whether something was in
// it. A bucket may owe, as much as it can hold.
func (b *buckets) take(key string, n float64) bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	k, known := b.of[key]
	if !known {
		if len(b.of) >= maxBuckets {
			b.forget(now)
		}
		k = bucket{left: b.burst, at: now}
	}
	k.left = min(b.burst, k.left+now.Sub(k.at).Seconds()*b.rate)
	k.at = now
	ok := k.left >= 1
	if ok || n > 1 {
		k.left = max(k.left-n, -b.burst)
	}
	b.of[key] = k
	return ok
}

// forget makes room: buckets that are full again are as good as none. If none
// is, some go that are not, whichever they are.
func (b *buckets) forget(now time.Time) {
	for key, k := range b.of {
		if k.left+now.Sub(k.at).Seconds()*b.rate >= b.burst {
			delete(b.of, key)
		}
	}
	for key := range b.of {
		if len(b.of) < maxBuckets*15/16 {
			return
		}
		delete(b.of, key)
	}
}

// client is the address that a request is counted for: of IPv6 the network of 64
// bits. Behind proxies that are listed it is the last one that none of them has.
func (l *Limits) client(r *http.Request) string {
	addr, trusted := l.peer(r.RemoteAddr)
	if trusted {
		hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		for _, hop := range slices.Backward(hops) {
			a, err := netip.ParseAddr(strings.TrimSpace(hop))
			if err != nil {
				break
			}
			addr = a.Unmap().WithZone("")
			if !l.proxy(addr) {
				break
			}
		}
	}
	switch {
	case !addr.IsValid():
		return "unix"
	case addr.Is6():
		p, _ := addr.Prefix(64)
		return p.String()
	}
	return addr.String()
}

// peer is who connected, and whether it is a proxy of ours.
func (l *Limits) peer(remote string) (netip.Addr, bool) {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return netip.Addr{}, l.UnixProxy // a Unix socket has no address
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}, false
	}
	addr = addr.Unmap().WithZone("")
	return addr, l.proxy(addr)
}

func (l *Limits) proxy(a netip.Addr) bool {
	return slices.ContainsFunc(l.Proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}
