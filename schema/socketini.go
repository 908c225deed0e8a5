package schema

import (
	"net/netip"
	"strings"
)

func (d *decoder) socket(s *INISection, name string) {
	name = strings.TrimSpace(name)
	if _, f := itemName(name); f != nil {
		d.problems.Add(s.Pos, f.fix, "[%s]: %s of a socket", s.Name, f.msg)
		return
	}
	for _, other := range d.cfg.Sockets {
		if strings.EqualFold(other.Name, name) {
			d.problems.Add(s.Pos, "give it another name", "[%s]: the socket in line %d has this name", s.Name, other.Line)
		}
	}
	sk := &socketKeys{Socket: DefaultSocket(name), has: map[string]bool{}}
	sk.Pos = s.Pos
	for _, k := range s.Keys {
		sk.has[k.Name] = true
	}
	t := &target{cfg: d.cfg, socket: sk}
	if d.circus {
		d.circusKeys(s, "socket", t)
		d.finishCircusSocket(sk)
	} else {
		d.keys(s, "socket", t)
		d.finishSocket(s, sk)
	}
	d.cfg.Sockets = append(d.cfg.Sockets, sk.Socket)
}

// finishSocket checks the keys against each other and fills the host in.
func (d *decoder) finishSocket(s *INISection, sk *socketKeys) {
	problem := func(key, fix, msg string) {
		pos := s.Pos
		if k := s.Find(key); k != nil {
			pos = k.Pos
		}
		d.problems.Add(pos, fix, "[%s]: %s", s.Name, msg)
	}
	isUnix := sk.has["path"] || sk.family == "AF_UNIX"
	if isUnix {
		for _, key := range []string{"host", "port", "so_reuseport"} {
			if sk.has[key] {
				problem(key, "remove it", key+" has no meaning for a Unix socket")
			}
		}
		switch {
		case !sk.has["path"]:
			problem("family", "write path = NAME.sock", "a Unix socket without path")
		case sk.family != "" && sk.family != "AF_UNIX":
			problem("family", "remove it", "a socket with a path has the family AF_UNIX")
		}
		return
	}
	for _, key := range []string{"umask", "replace"} {
		if sk.has[key] {
			problem(key, "remove it", key+" has a meaning for a Unix socket only")
		}
	}
	if !sk.has["port"] {
		problem("", "write port = NUMBER or path = NAME.sock", "neither port nor path")
	}
	if sk.Type == "seqpacket" {
		problem("type", "use stream", "seqpacket is for Unix sockets only")
	}
	d.finishHost(s, sk, problem)
}

func (d *decoder) finishHost(s *INISection, sk *socketKeys, problem func(key, fix, msg string)) {
	if sk.Host == "" {
		sk.Host = "127.0.0.1"
		if sk.family == "AF_INET6" {
			sk.Host = "::1"
		}
	}
	sk.IPv6 = sk.family == "AF_INET6"
	addr, err := netip.ParseAddr(sk.Host)
	if err == nil && sk.family != "" && addr.Is6() != sk.IPv6 {
		problem("family", "remove it", "the address "+sk.Host+" is not of the family "+sk.family)
	}
	if err == nil {
		sk.IPv6 = addr.Is6()
	}
}
