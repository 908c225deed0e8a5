package build

import (
	"fmt"
	"regexp"
)

var (
	missingHeader  = regexp.MustCompile(`fatal error: '?([^\s':]+\.h(?:pp|h|xx)?)'?(?:: No such file| file not found)`)
	missingLibrary = regexp.MustCompile(`(?:cannot find|library not found for|[Cc]ould not find .*) -l([A-Za-z0-9_+.-]*[A-Za-z0-9_+])`)
	missingConfig  = regexp.MustCompile(`(?:\b([a-z0-9_]+[-_]config)(?: executable)?:? not found|No such file or directory: '([a-z0-9_]+[-_]config)')`)
	missingTool    = regexp.MustCompile(`(?:command|error:|execute|find) '?(gcc|g\+\+|cc|c\+\+|clang|x86_64-linux-gnu-gcc|aarch64-linux-gnu-gcc|gfortran|cargo|rustc|cmake|ninja|pkg-config|swig)'? (?:failed: )?(?:No such file|not found|is not)`)
)

// headers are those of system dependencies, by the usual names of these.
var headers = map[string]string{
	"Python.h": "python-dev", "ffi.h": "libffi", "openssl/ssl.h": "openssl", "openssl/opensslv.h": "openssl", "libpq-fe.h": "postgresql-client",
	"mysql.h": "mariadb-client", "sqlite3.h": "sqlite", "zlib.h": "zlib", "jpeglib.h": "libjpeg", "libxml/xmlversion.h": "libxml2",
	"libxslt/xsltconfig.h": "libxslt", "lber.h": "openldap", "ldap.h": "openldap", "sasl/sasl.h": "cyrus-sasl", "yaml.h": "libyaml",
	"zmq.h": "zeromq", "sodium.h": "libsodium", "ft2build.h": "freetype", "expat.h": "expat", "curl/curl.h": "libcurl", "bzlib.h": "bzip2",
	"lzma.h": "xz", "event.h": "libevent", "gmp.h": "gmp", "readline/readline.h": "readline", "sql.h": "unixodbc", "gssapi/gssapi.h": "krb5",
	"krb5.h": "krb5", "libmemcached/memcached.h": "libmemcached", "systemd/sd-daemon.h": "systemd",
}

// advice says what would help against what a build complains of, "" where
// nobody knows.
func advice(said string) string {
	if m := missingHeader.FindStringSubmatch(said); m != nil {
		as := ""
		if name := headers[m[1]]; name != "" {
			as = " as " + name
		}
		return fmt.Sprintf("install the system package that has %s on this host, and name what it is of in external-dependencies.txt%s", m[1], as)
	}
	if m := missingLibrary.FindStringSubmatch(said); m != nil {
		return fmt.Sprintf("install the system package that has lib%s and its development files on this host, and name it in external-dependencies.txt", m[1])
	}
	if m := missingConfig.FindStringSubmatch(said); m != nil {
		return fmt.Sprintf("install the system package that has the command %s on this host, and name what it is of in external-dependencies.txt", m[1]+m[2])
	}
	if m := missingTool.FindStringSubmatch(said); m != nil {
		return fmt.Sprintf("install %s on this host; it is needed for the build alone", m[1])
	}
	return ""
}
