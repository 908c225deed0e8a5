-- Written for both databases: {{identity}} is how each of them numbers rows.
-- Times are milliseconds since 1970.

CREATE TABLE services (
	id      {{identity}},
	service TEXT NOT NULL UNIQUE CHECK (length(service) BETWEEN 1 AND 30),
	pattern TEXT NOT NULL CHECK (length(pattern) <= 255)
);

CREATE TABLE nodes (
	id           {{identity}},
	service      BIGINT NOT NULL REFERENCES services (id),
	node         TEXT NOT NULL CHECK (length(node) BETWEEN 1 AND 255),
	available    BIGINT NOT NULL CHECK (available >= 0),
	current_load BIGINT NOT NULL CHECK (current_load >= 0),
	capacity     BIGINT NOT NULL CHECK (capacity >= 0),
	downed       BIGINT NOT NULL CHECK (downed IN (0, 1)),
	backoff      BIGINT NOT NULL CHECK (backoff IN (0, 1)),
	UNIQUE (service, node)
);

-- A user has one live row, and a replaced one for every time that keys or node
-- were others, until the data behind it are purged.
CREATE TABLE users (
	uid             {{identity}},
	service         BIGINT NOT NULL REFERENCES services (id),
	email           TEXT NOT NULL CHECK (length(email) BETWEEN 1 AND 255),
	generation      BIGINT NOT NULL CHECK (generation >= 0),
	keys_changed_at BIGINT NOT NULL CHECK (keys_changed_at >= 0),
	client_state    TEXT NOT NULL CHECK (length(client_state) <= 32),
	created_at      BIGINT NOT NULL,
	replaced_at     BIGINT,
	first_seen_at   BIGINT NOT NULL,
	nodeid          BIGINT REFERENCES nodes (id),
	issuer          TEXT NOT NULL CHECK (length(issuer) <= 255)
);
-- The service, which nearly all rows have in common, is first in no index: SQLite
-- would take one that has it there for the best.
CREATE UNIQUE INDEX users_live ON users (email, service) WHERE replaced_at IS NULL;
CREATE INDEX users_replaced ON users (email, service) WHERE replaced_at IS NOT NULL;
CREATE INDEX users_purge ON users (replaced_at, uid) WHERE replaced_at IS NOT NULL;
CREATE INDEX users_node ON users (nodeid);

-- Who vouched for how many users, and when the next new one may come
-- (microseconds since 1970).
CREATE TABLE issuers (
	service BIGINT NOT NULL REFERENCES services (id),
	issuer  TEXT NOT NULL CHECK (length(issuer) BETWEEN 1 AND 255),
	users   BIGINT NOT NULL CHECK (users >= 0),
	next_at BIGINT NOT NULL,
	PRIMARY KEY (service, issuer)
);
