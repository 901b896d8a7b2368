CREATE SCHEMA access;

CREATE SCHEMA identity;

CREATE SCHEMA consent;

CREATE SCHEMA behavior;

CREATE SCHEMA segments;

CREATE SCHEMA rights;

CREATE SCHEMA destinations;

CREATE SCHEMA vault;

CREATE SCHEMA audit;

CREATE TABLE access.accounting (
	accounting_id BIGSERIAL NOT NULL, 
	source_id INTEGER NOT NULL, 
	hour TIMESTAMP WITH TIME ZONE NOT NULL, 
	state TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	messages INTEGER NOT NULL, 
	CONSTRAINT accounting_pkey PRIMARY KEY (accounting_id), 
	CONSTRAINT accounting_state_check CHECK (state IN ('stored', 'duplicate', 'suppressed', 'not_permitted', 'invalid', 'blocked')), 
	CONSTRAINT accounting_messages_check CHECK (messages > 0)
);

CREATE INDEX accounting_hour_source_id_idx ON access.accounting (hour, source_id);

COMMENT ON TABLE access.accounting IS 'What became of every message; appended per batch, summed on reading, compacted by the worker.';

CREATE TABLE access.applied_policy (
	applied_policy_id SERIAL NOT NULL, 
	fingerprint BYTEA NOT NULL, 
	content JSONB NOT NULL, 
	applied_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	CONSTRAINT applied_policy_pkey PRIMARY KEY (applied_policy_id)
);

COMMENT ON TABLE access.applied_policy IS 'Policy history: every policy that was in force, with the instant from which it was.';

CREATE TABLE access.import_job (
	import_job_id BIGSERIAL NOT NULL, 
	source_id INTEGER NOT NULL, 
	file_digest BYTEA NOT NULL, 
	mapping_digest BYTEA NOT NULL, 
	rows_done BIGINT NOT NULL, 
	byte_offset BIGINT NOT NULL, 
	states JSONB NOT NULL, 
	started_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	finished_at TIMESTAMP WITH TIME ZONE, 
	CONSTRAINT import_job_pkey PRIMARY KEY (import_job_id)
);

COMMENT ON TABLE access.import_job IS 'How far an import came; written in the transaction of each chunk, so a killed import resumes exactly.';

CREATE TABLE access.instant_override (
	single SMALLINT NOT NULL, 
	instant TIMESTAMP WITH TIME ZONE NOT NULL, 
	CONSTRAINT instant_override_pkey PRIMARY KEY (single), 
	CONSTRAINT instant_override_single_check CHECK (single = 1)
);

COMMENT ON TABLE access.instant_override IS 'The owner-only test clock of the database; empty in production.';

CREATE TABLE access.notice (
	notice_id BIGSERIAL NOT NULL, 
	source_id INTEGER NOT NULL, 
	hour TIMESTAMP WITH TIME ZONE NOT NULL, 
	kind TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	messages INTEGER NOT NULL, 
	CONSTRAINT notice_pkey PRIMARY KEY (notice_id), 
	CONSTRAINT notice_kind_check CHECK (kind IN ('unknown_identifier_type', 'blocked_identifier', 'duplicate_other_body', 'unknown_purpose', 'unknown_event', 'unknown_property', 'future_time', 'malformed_signal'))
);

COMMENT ON TABLE access.notice IS 'Counts of oddities in otherwise accounted messages; `subject` is a name from policy or ''other''.';

CREATE TABLE access.source (
	source_id SERIAL NOT NULL, 
	name TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	write_key_hash BYTEA NOT NULL, 
	scopes TEXT[] NOT NULL, 
	jurisdiction TEXT NOT NULL, 
	request_bytes_max INTEGER NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	disabled_at TIMESTAMP WITH TIME ZONE, 
	CONSTRAINT source_pkey PRIMARY KEY (source_id), 
	CONSTRAINT source_kind_check CHECK (kind IN ('browser', 'server')), 
	CONSTRAINT source_name_key UNIQUE (name), 
	CONSTRAINT source_write_key_hash_key UNIQUE (write_key_hash)
);

COMMENT ON TABLE access.source IS 'Where messages come from; the kind caps what authority its consent signals can have.';

CREATE TABLE access.token (
	token_id SERIAL NOT NULL, 
	name TEXT NOT NULL, 
	role TEXT NOT NULL, 
	token_hash BYTEA NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	revoked_at TIMESTAMP WITH TIME ZONE, 
	CONSTRAINT token_pkey PRIMARY KEY (token_id), 
	CONSTRAINT token_role_check CHECK (role IN ('marketer', 'privacy', 'auditor', 'admin')), 
	CONSTRAINT token_token_hash_key UNIQUE (token_hash)
);

COMMENT ON TABLE access.token IS 'Bearer tokens of the people who work with the store, as SHA-256 of 256 random bits.';

CREATE TABLE audit.tree (
	tree_id SMALLINT NOT NULL, 
	origin TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	started_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	CONSTRAINT tree_pkey PRIMARY KEY (tree_id), 
	CONSTRAINT tree_tree_id_check CHECK (tree_id > 0), 
	CONSTRAINT tree_size_check CHECK (size >= 0), 
	CONSTRAINT tree_origin_key UNIQUE (origin)
);

COMMENT ON TABLE audit.tree IS 'One row per log ever begun; the highest tree_id grows, the others stay as they are.';

CREATE TABLE behavior.bucket (
	anchor_id BIGINT NOT NULL, 
	trait TEXT NOT NULL, 
	day DATE NOT NULL, 
	generation SMALLINT NOT NULL, 
	events BIGINT NOT NULL, 
	total DOUBLE PRECISION NOT NULL, 
	last_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	last_event_id UUID NOT NULL, 
	last_plain JSONB, 
	CONSTRAINT bucket_pkey PRIMARY KEY (anchor_id, trait, day, generation)
)
 WITH (fillfactor = 70);

COMMENT ON TABLE behavior.bucket IS 'Computed traits per anchor and day of occurred_at; `total` is a plain or forward-decayed sum. Only ever added to or recomputed, never subtracted from. Generation 0 needs no landmark.';

CREATE TABLE behavior.definition (
	subject TEXT NOT NULL, 
	definition TEXT NOT NULL, 
	CONSTRAINT definition_pkey PRIMARY KEY (subject)
);

COMMENT ON TABLE behavior.definition IS 'What the stored rows were made by: `trait KEY` names a computed trait''s definition, `class KEY` a retention class''s days. Another one in the policy means: make buckets anew, remember message ids longer.';

CREATE TABLE behavior.duplicate (
	event_id UUID NOT NULL, 
	body_digest BYTEA NOT NULL, 
	keep_until DATE NOT NULL, 
	CONSTRAINT duplicate_pkey PRIMARY KEY (event_id)
)
 PARTITION BY HASH (event_id);

COMMENT ON TABLE behavior.duplicate IS 'Stored message ids as keyed digests, so that one message counts once; hash-partitioned.';

CREATE TABLE behavior.event (
	anchor_id BIGINT NOT NULL, 
	occurred_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	event_id UUID NOT NULL, 
	retention_class TEXT NOT NULL, 
	received_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	source_id INTEGER NOT NULL, 
	name_id INTEGER NOT NULL, 
	bits BIGINT NOT NULL, 
	plain JSONB, 
	sealed BYTEA NOT NULL, 
	CONSTRAINT event_pkey PRIMARY KEY (anchor_id, occurred_at, event_id, retention_class), 
	CONSTRAINT event_bits_check CHECK (bits > 0), 
	CONSTRAINT event_no_text_check CHECK (NOT jsonb_path_exists(plain, '$.* ? (@.type() == "string" || @.type() == "object" || @.type() == "array")'))
)
 PARTITION BY LIST (retention_class);

CREATE INDEX event_name_id_occurred_at_idx ON behavior.event (name_id, occurred_at);

COMMENT ON TABLE behavior.event IS 'One row an event, partitioned by retention class and month of occurred_at; rewritten by nothing. name_id 0 is an event that the tracking plan does not name: its name is sealed.';

CREATE TABLE behavior.landmark (
	trait TEXT NOT NULL, 
	generation SMALLINT NOT NULL, 
	landmark_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	half_life_days DOUBLE PRECISION NOT NULL, 
	CONSTRAINT landmark_pkey PRIMARY KEY (trait, generation), 
	CONSTRAINT landmark_half_life_check CHECK (half_life_days > 0)
);

COMMENT ON TABLE behavior.landmark IS 'The fixed instant L of forward decay, by trait and generation.';

CREATE TABLE behavior.severed (
	severed_id BIGSERIAL NOT NULL, 
	retention_class TEXT NOT NULL, 
	name_id INTEGER NOT NULL, 
	month DATE NOT NULL, 
	plain JSONB NOT NULL, 
	events BIGINT NOT NULL, 
	CONSTRAINT severed_pkey PRIMARY KEY (severed_id), 
	CONSTRAINT severed_events_check CHECK (events > 0)
);

CREATE INDEX severed_retention_class_month_idx ON behavior.severed (retention_class, month);

COMMENT ON TABLE behavior.severed IS 'What is left of expired events of classes that sever: counts by month and coarsened plain values, no person, no instant, no value that fewer than the minimum share.';

CREATE TABLE behavior.term (
	term_id SERIAL NOT NULL, 
	vocabulary TEXT NOT NULL, 
	term TEXT NOT NULL, 
	CONSTRAINT term_pkey PRIMARY KEY (term_id), 
	CONSTRAINT term_vocabulary_term_key UNIQUE (vocabulary, term)
);

COMMENT ON TABLE behavior.term IS 'Vocabulary strings interned once for all people; vocabulary ''event'' holds the event names.';

CREATE TABLE behavior.trait (
	anchor_id BIGINT NOT NULL, 
	name TEXT NOT NULL, 
	occurred_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	received_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	event_id UUID NOT NULL, 
	bits BIGINT NOT NULL, 
	plain JSONB, 
	sealed BYTEA, 
	is_rectified BOOLEAN DEFAULT false NOT NULL, 
	CONSTRAINT trait_pkey PRIMARY KEY (anchor_id, name, bits), 
	CONSTRAINT trait_one_form_check CHECK ((plain IS NULL) <> (sealed IS NULL)), 
	CONSTRAINT trait_bits_check CHECK (bits > 0)
)
 WITH (fillfactor = 70);

COMMENT ON TABLE behavior.trait IS 'Stated traits per anchor and purpose bits: the latest by (occurred_at, received_at, event_id) wins, a rectified one always. Bits are part of the key, so that a later statement never hides an earlier one from a purpose it lacks.';

CREATE TABLE consent.permitted (
	profile_id BIGINT NOT NULL, 
	purpose TEXT NOT NULL, 
	since TIMESTAMP WITH TIME ZONE NOT NULL, 
	until TIMESTAMP WITH TIME ZONE, 
	reader_pseudonym TEXT NOT NULL, 
	traits JSONB DEFAULT '{}'::jsonb NOT NULL, 
	CONSTRAINT permitted_pkey PRIMARY KEY (profile_id, purpose)
)
 PARTITION BY LIST (purpose);

CREATE UNIQUE INDEX permitted_purpose_reader_pseudonym_idx ON consent.permitted (purpose, reader_pseudonym);

CREATE INDEX permitted_until_idx ON consent.permitted (until) WHERE until IS NOT NULL;

COMMENT ON TABLE consent.permitted IS 'Verdicts in force: one partition per purpose, holding permitted profiles only (the projection). A permission that needs no act has since = 1900-01-01, earlier than any event.';

CREATE TABLE consent.purpose (
	purpose TEXT NOT NULL, 
	bit SMALLINT NOT NULL, 
	added_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	CONSTRAINT purpose_pkey PRIMARY KEY (purpose), 
	CONSTRAINT purpose_bit_check CHECK (bit BETWEEN 0 AND 62), 
	CONSTRAINT purpose_bit_key UNIQUE (bit)
);

COMMENT ON TABLE consent.purpose IS 'Purposes ever declared, each with its bit in behavior.event.bits; a bit is never given twice.';

CREATE TABLE consent.record (
	record_id BIGINT NOT NULL, 
	identifier_id BIGINT NOT NULL, 
	purpose TEXT NOT NULL, 
	act TEXT NOT NULL, 
	authority TEXT NOT NULL, 
	jurisdiction TEXT NOT NULL, 
	notice_version TEXT, 
	notice_hash BYTEA, 
	source_id INTEGER, 
	signal TEXT, 
	signal_hash BYTEA, 
	rule TEXT, 
	policy_fingerprint BYTEA NOT NULL, 
	occurred_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	recorded_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	valid_until TIMESTAMP WITH TIME ZONE, 
	is_two_step BOOLEAN DEFAULT false NOT NULL, 
	CONSTRAINT record_pkey PRIMARY KEY (record_id), 
	CONSTRAINT record_act_check CHECK (act IN ('grant', 'refuse', 'withdraw', 'object')), 
	CONSTRAINT record_authority_check CHECK (authority IN ('authenticated', 'operator', 'imported', 'device', 'signal')), 
	CONSTRAINT record_only_grants_end_check CHECK (valid_until IS NULL OR act = 'grant'), 
	CONSTRAINT record_only_grants_take_two_steps_check CHECK (act = 'grant' OR NOT is_two_step)
);

CREATE INDEX record_identifier_id_purpose_idx ON consent.record (identifier_id, purpose);

COMMENT ON TABLE consent.record IS 'The ledger: one row an act, never updated. Fields follow ISO/IEC TS 27560.';

CREATE TABLE consent.refused (
	profile_id BIGINT NOT NULL, 
	purpose TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	CONSTRAINT refused_pkey PRIMARY KEY (profile_id, purpose)
);

COMMENT ON TABLE consent.refused IS 'Refusals that rest on something recorded; a profile in neither table simply has no record.';

CREATE TABLE consent.repetition (
	record_id BIGINT NOT NULL, 
	identifier_id BIGINT NOT NULL, 
	repeated_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	CONSTRAINT repetition_pkey PRIMARY KEY (record_id)
);

CREATE INDEX repetition_identifier_id_idx ON consent.repetition (identifier_id);

COMMENT ON TABLE consent.repetition IS 'The last instant at which a signal said a recorded no again; the record itself is never updated. A signal that repeats a no makes no new record.';

CREATE TABLE consent.withdrawal (
	withdrawal_id BIGSERIAL NOT NULL, 
	profile_id BIGINT NOT NULL, 
	purpose TEXT NOT NULL, 
	withdrawn_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	CONSTRAINT withdrawal_pkey PRIMARY KEY (withdrawal_id)
);

CREATE INDEX withdrawal_profile_id_idx ON consent.withdrawal (profile_id);

COMMENT ON TABLE consent.withdrawal IS 'Permissions that ended: the worker clears the purpose''s bits of earlier events, then deletes the row.';

CREATE TABLE destinations.outbox (
	delivery_id BIGSERIAL NOT NULL, 
	destination TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	profile_id BIGINT, 
	recipient_pseudonym BYTEA, 
	body JSONB NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	due_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	attempts INTEGER DEFAULT 0 NOT NULL, 
	acknowledged_at TIMESTAMP WITH TIME ZONE, 
	CONSTRAINT outbox_pkey PRIMARY KEY (delivery_id)
);

CREATE INDEX outbox_due_at_idx ON destinations.outbox (due_at) WHERE acknowledged_at IS NULL;

CREATE INDEX outbox_profile_id_idx ON destinations.outbox (profile_id) WHERE profile_id IS NOT NULL;

COMMENT ON TABLE destinations.outbox IS 'Deliveries waiting for their recipient, written in the transaction that caused them.';

CREATE TABLE identity.anchor (
	anchor_id BIGINT NOT NULL, 
	members_digest BYTEA NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	is_settled BOOLEAN NOT NULL, 
	CONSTRAINT anchor_pkey PRIMARY KEY (anchor_id), 
	CONSTRAINT anchor_members_digest_key UNIQUE (members_digest)
);

COMMENT ON TABLE identity.anchor IS 'Interned identifier sets; not settled where a limit with a window may decide otherwise later.';

CREATE TABLE identity.anchor_member (
	anchor_id BIGINT NOT NULL, 
	identifier_id BIGINT NOT NULL, 
	position SMALLINT NOT NULL, 
	CONSTRAINT anchor_member_pkey PRIMARY KEY (anchor_id, identifier_id)
);

CREATE INDEX anchor_member_identifier_id_anchor_id_idx ON identity.anchor_member (identifier_id, anchor_id);

COMMENT ON TABLE identity.anchor_member IS 'Which identifiers an anchor holds, dropped ones included; position 0 is the strongest.';

CREATE TABLE identity.anchor_source (
	anchor_id BIGINT NOT NULL, 
	source_id INTEGER NOT NULL, 
	CONSTRAINT anchor_source_pkey PRIMARY KEY (anchor_id, source_id)
);

COMMENT ON TABLE identity.anchor_source IS 'Which sources asserted an anchor: gives jurisdictions, and how far an erasure may reach.';

CREATE TABLE identity.canonical (
	anchor_id BIGINT NOT NULL, 
	profile_id BIGINT NOT NULL, 
	CONSTRAINT canonical_pkey PRIMARY KEY (anchor_id)
);

CREATE INDEX canonical_profile_id_anchor_id_idx ON identity.canonical (profile_id, anchor_id);

COMMENT ON TABLE identity.canonical IS 'The canonical map: which anchors make one profile today.';

CREATE TABLE identity.edge (
	sequence BIGINT NOT NULL, 
	identifier_id BIGINT NOT NULL, 
	other_identifier_id BIGINT NOT NULL, 
	source_id INTEGER NOT NULL, 
	received_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	import_job_id BIGINT, 
	row_number INTEGER NOT NULL, 
	CONSTRAINT edge_pkey PRIMARY KEY (sequence)
);

CREATE INDEX edge_identifier_id_idx ON identity.edge (identifier_id);

CREATE INDEX edge_other_identifier_id_idx ON identity.edge (other_identifier_id);

COMMENT ON TABLE identity.edge IS 'Recorded steps that came from a link table instead of a message: two identifiers, no anchor. `row_number` is the row of the table, `import_job_id` the import of its file.';

CREATE TABLE identity.evidence (
	evidence_id BIGSERIAL NOT NULL, 
	sequence BIGINT NOT NULL, 
	kind TEXT NOT NULL, 
	rule TEXT NOT NULL, 
	identifier_id BIGINT NOT NULL, 
	other_identifier_id BIGINT, 
	profile_id BIGINT NOT NULL, 
	other_profile_id BIGINT, 
	at TIMESTAMP WITH TIME ZONE NOT NULL, 
	policy_fingerprint BYTEA NOT NULL, 
	CONSTRAINT evidence_pkey PRIMARY KEY (evidence_id), 
	CONSTRAINT evidence_kind_check CHECK (kind IN ('link', 'merge', 'refusal', 'shared', 'quarantine', 'never', 'unmerge', 'allow_again'))
);

CREATE INDEX evidence_identifier_id_idx ON identity.evidence (identifier_id);

CREATE INDEX evidence_other_identifier_id_idx ON identity.evidence (other_identifier_id) WHERE other_identifier_id IS NOT NULL;

CREATE INDEX evidence_other_profile_id_idx ON identity.evidence (other_profile_id) WHERE other_profile_id IS NOT NULL;

CREATE INDEX evidence_profile_id_idx ON identity.evidence (profile_id);

COMMENT ON TABLE identity.evidence IS 'Append-only evidence of links, merges and refusals; `rule` is the rule''s name in the policy.';

CREATE TABLE identity.generation (
	single SMALLINT NOT NULL, 
	version BIGINT NOT NULL, 
	next_sequence BIGINT NOT NULL, 
	CONSTRAINT generation_pkey PRIMARY KEY (single), 
	CONSTRAINT generation_single_check CHECK (single = 1)
);

COMMENT ON TABLE identity.generation IS 'One row: the version of the mapping (caches compare it) and the next number of the recorded sequence.';

CREATE TABLE identity.identifier (
	identifier_id BIGINT NOT NULL, 
	type TEXT NOT NULL, 
	pseudonym BYTEA NOT NULL, 
	pseudonym_version SMALLINT NOT NULL, 
	sealed BYTEA NOT NULL, 
	is_shared BOOLEAN DEFAULT false NOT NULL, 
	first_seen_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	last_seen_on DATE NOT NULL, 
	CONSTRAINT identifier_pkey PRIMARY KEY (identifier_id), 
	CONSTRAINT identifier_pseudonym_key UNIQUE (pseudonym)
);

COMMENT ON TABLE identity.identifier IS 'The only table that holds pseudonyms; everything else holds the random identifier_id.';

CREATE TABLE identity.link (
	identifier_id BIGINT NOT NULL, 
	profile_id BIGINT NOT NULL, 
	linked_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	CONSTRAINT link_pkey PRIMARY KEY (identifier_id)
);

CREATE INDEX link_profile_id_identifier_id_idx ON identity.link (profile_id, identifier_id);

COMMENT ON TABLE identity.link IS 'Which profile owns an identifier now.';

CREATE TABLE identity.never (
	identifier_id BIGINT NOT NULL, 
	other_identifier_id BIGINT NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	CONSTRAINT never_pkey PRIMARY KEY (identifier_id, other_identifier_id), 
	CONSTRAINT never_ordered_check CHECK (identifier_id < other_identifier_id)
);

CREATE INDEX never_other_identifier_id_idx ON identity.never (other_identifier_id);

COMMENT ON TABLE identity.never IS 'Pairs that an unmerge keeps apart; gone when either side is erased.';

CREATE TABLE identity.profile (
	profile_id BIGINT NOT NULL, 
	born_sequence BIGINT NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	merged_into BIGINT, 
	is_quarantined BOOLEAN DEFAULT false NOT NULL, 
	CONSTRAINT profile_pkey PRIMARY KEY (profile_id), 
	CONSTRAINT profile_born_sequence_key UNIQUE (born_sequence)
);

CREATE INDEX profile_merged_into_idx ON identity.profile (merged_into) WHERE merged_into IS NOT NULL;

COMMENT ON TABLE identity.profile IS 'Profiles by stable id; born_sequence names the resolution that made it, the older one survives a merge.';

CREATE TABLE identity.resolution (
	sequence BIGINT NOT NULL, 
	anchor_id BIGINT NOT NULL, 
	source_id INTEGER NOT NULL, 
	received_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	message_sealed BYTEA NOT NULL, 
	policy_fingerprint BYTEA NOT NULL, 
	CONSTRAINT resolution_pkey PRIMARY KEY (sequence)
);

CREATE INDEX resolution_anchor_id_idx ON identity.resolution (anchor_id);

COMMENT ON TABLE identity.resolution IS 'The recorded sequence: every application of the rules, in the order in which it took effect.';

CREATE TABLE rights.hold (
	hold_id BIGINT NOT NULL, 
	retention_class TEXT NOT NULL, 
	law TEXT NOT NULL, 
	keep_until DATE NOT NULL, 
	sealed BYTEA NOT NULL, 
	CONSTRAINT hold_pkey PRIMARY KEY (hold_id)
);

CREATE INDEX hold_keep_until_idx ON rights.hold (keep_until);

COMMENT ON TABLE rights.hold IS 'Columns under a statutory hold, sealed under a hold key and a random id, invisible to segments.';

CREATE TABLE rights.replay (
	single SMALLINT NOT NULL, 
	file_id BYTEA NOT NULL, 
	number BIGINT NOT NULL, 
	CONSTRAINT replay_pkey PRIMARY KEY (single), 
	CONSTRAINT replay_single_check CHECK (single = 1), 
	CONSTRAINT replay_file_id_check CHECK (octet_length(file_id) = 16), 
	CONSTRAINT replay_number_check CHECK (number >= 0)
);

COMMENT ON TABLE rights.replay IS 'Which replay file belongs to this database, and the last line of it that the database has seen; a database behind its file was restored.';

CREATE TABLE rights.request (
	request_id BIGINT NOT NULL, 
	kind TEXT NOT NULL, 
	regime TEXT NOT NULL, 
	status TEXT NOT NULL, 
	received_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	confirm_by TIMESTAMP WITH TIME ZONE, 
	due_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	extended_at TIMESTAMP WITH TIME ZONE, 
	verified_at TIMESTAMP WITH TIME ZONE, 
	started_at TIMESTAMP WITH TIME ZONE, 
	closed_at TIMESTAMP WITH TIME ZONE, 
	denial_reason TEXT, 
	waiting INTEGER DEFAULT 0 NOT NULL, 
	entry_id BIGINT, 
	CONSTRAINT request_pkey PRIMARY KEY (request_id), 
	CONSTRAINT request_kind_check CHECK (kind IN ('access', 'portability', 'erasure', 'rectification', 'restriction', 'objection', 'opt_out', 'limit')), 
	CONSTRAINT request_status_check CHECK (status IN ('received', 'verified', 'in_progress', 'fulfilled', 'denied', 'withdrawn', 'expired')), 
	CONSTRAINT request_denial_has_reason_check CHECK ((status = 'denied') = (denial_reason IS NOT NULL))
);

CREATE INDEX request_status_due_at_idx ON rights.request (status, due_at);

COMMENT ON TABLE rights.request IS 'Subject requests; after fulfilment they name nobody.';

CREATE TABLE rights.request_identifier (
	request_id BIGINT NOT NULL, 
	position SMALLINT NOT NULL, 
	type TEXT NOT NULL, 
	sealed BYTEA NOT NULL, 
	CONSTRAINT request_identifier_pkey PRIMARY KEY (request_id, position)
);

COMMENT ON TABLE rights.request_identifier IS 'What the requester named, sealed under the request''s own key, shredded on fulfilment.';

CREATE TABLE rights.step (
	request_id BIGINT NOT NULL, 
	position SMALLINT NOT NULL, 
	table_name TEXT NOT NULL, 
	verb TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	rows_touched BIGINT DEFAULT 0 NOT NULL, 
	done_at TIMESTAMP WITH TIME ZONE, 
	CONSTRAINT step_pkey PRIMARY KEY (request_id, position), 
	CONSTRAINT step_verb_check CHECK (verb IN ('delete', 'sever', 'shred', 'keep')), 
	CONSTRAINT step_rows_touched_check CHECK (rows_touched >= 0)
);

COMMENT ON TABLE rights.step IS 'The plan of an erasure and how far it came: a killed run resumes at the first step that is not done.';

CREATE TABLE rights.suppression (
	pseudonym BYTEA NOT NULL, 
	purpose TEXT DEFAULT '' NOT NULL, 
	request_id BIGINT DEFAULT 0 NOT NULL, 
	since TIMESTAMP WITH TIME ZONE NOT NULL, 
	until TIMESTAMP WITH TIME ZONE, 
	lifted_at TIMESTAMP WITH TIME ZONE, 
	CONSTRAINT suppression_pkey PRIMARY KEY (pseudonym, purpose, request_id)
);

CREATE INDEX suppression_request_id_idx ON rights.suppression (request_id) WHERE request_id <> 0;

COMMENT ON TABLE rights.suppression IS 'Standing orders never to process these pseudonyms again (purpose '''' means every purpose); keyed under the suppression domain, which cannot be joined with the graph. Rows of a request are its barrier until it ends.';

CREATE TABLE segments.membership_change (
	profile_id BIGINT NOT NULL, 
	change_id BIGINT GENERATED ALWAYS AS IDENTITY, 
	key TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	change TEXT NOT NULL, 
	changed_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	CONSTRAINT membership_change_pkey PRIMARY KEY (profile_id, change_id), 
	CONSTRAINT membership_change_change_check CHECK (change IN ('entered', 'exited'))
);

CREATE INDEX membership_change_key_changed_at_idx ON segments.membership_change (key, changed_at);

COMMENT ON TABLE segments.membership_change IS 'Append-only: each entering and leaving, in the transaction that found it.';

CREATE TABLE segments.segment (
	key TEXT NOT NULL, 
	name TEXT NOT NULL, 
	purpose TEXT NOT NULL, 
	owner TEXT NOT NULL, 
	text TEXT DEFAULT '' NOT NULL, 
	version INTEGER NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	changed_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	refreshed_at TIMESTAMP WITH TIME ZONE, 
	CONSTRAINT segment_pkey PRIMARY KEY (key), 
	CONSTRAINT segment_version_check CHECK (version >= 1)
);

COMMENT ON TABLE segments.segment IS 'Segments by key, each with one purpose; `version` names the definition in force.';

CREATE TABLE segments.stale (
	profile_id BIGINT NOT NULL, 
	stale_id BIGINT GENERATED ALWAYS AS IDENTITY, 
	event TEXT, 
	CONSTRAINT stale_pkey PRIMARY KEY (profile_id, stale_id)
);

COMMENT ON TABLE segments.stale IS 'Profiles whose memberships are to be looked at again, for at most moments: after an event of this name, or, without one, after anything. Marked in the transaction that changed something, deleted in the one that looked.';

CREATE TABLE vault.epoch (
	epoch_id INTEGER NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	retired_at TIMESTAMP WITH TIME ZONE, 
	destroyed_at TIMESTAMP WITH TIME ZONE, 
	CONSTRAINT epoch_pkey PRIMARY KEY (epoch_id), 
	CONSTRAINT epoch_epoch_id_check CHECK (epoch_id > 0), 
	CONSTRAINT epoch_destroyed_check CHECK (destroyed_at IS NULL OR retired_at IS NOT NULL)
);

COMMENT ON TABLE vault.epoch IS 'Epochs; their keys live at the key provider. A backup is usable until its epoch''s key is destroyed.';

CREATE TABLE vault.key_check (
	name TEXT NOT NULL, 
	check_value BYTEA NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	destroyed_at TIMESTAMP WITH TIME ZONE, 
	CONSTRAINT key_check_pkey PRIMARY KEY (name), 
	CONSTRAINT key_check_check_value_check CHECK (octet_length(check_value) = 16)
);

COMMENT ON TABLE vault.key_check IS 'What each root key must answer, so that a missing or wrong one is noticed before anything is written.';

CREATE TABLE vault.subject_key (
	subject_id BIGINT NOT NULL, 
	epoch_id INTEGER NOT NULL, 
	wrapped BYTEA NOT NULL, 
	CONSTRAINT subject_key_pkey PRIMARY KEY (subject_id), 
	CONSTRAINT subject_key_subject_id_check CHECK (subject_id > 0), 
	CONSTRAINT subject_key_wrapped_check CHECK (octet_length(wrapped) = 61)
);

COMMENT ON TABLE vault.subject_key IS 'One key per anchor and per identifier, wrapped under an epoch key; deleting the row shreds all it sealed.';

CREATE TABLE audit.checkpoint (
	tree_id SMALLINT NOT NULL, 
	size BIGINT NOT NULL, 
	root BYTEA NOT NULL, 
	note TEXT NOT NULL, 
	signed_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	CONSTRAINT checkpoint_pkey PRIMARY KEY (tree_id, size), 
	CONSTRAINT checkpoint_root_check CHECK (octet_length(root) = 32), 
	CONSTRAINT checkpoint_size_check CHECK (size >= 0), 
	FOREIGN KEY(tree_id) REFERENCES audit.tree (tree_id)
);

COMMENT ON TABLE audit.checkpoint IS 'Signed tree heads, as notes.';

CREATE TABLE audit.entry (
	entry_id BIGINT GENERATED ALWAYS AS IDENTITY, 
	commitment BYTEA NOT NULL, 
	recorded_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	tree_id SMALLINT, 
	leaf_index BIGINT, 
	CONSTRAINT entry_pkey PRIMARY KEY (entry_id), 
	CONSTRAINT entry_commitment_check CHECK (octet_length(commitment) = 32), 
	CONSTRAINT entry_placed_check CHECK ((tree_id IS NULL) = (leaf_index IS NULL)), 
	CONSTRAINT entry_leaf_index_check CHECK (leaf_index >= 0), 
	CONSTRAINT entry_tree_id_leaf_index_key UNIQUE (tree_id, leaf_index), 
	CONSTRAINT entry_commitment_key UNIQUE (commitment), 
	FOREIGN KEY(tree_id) REFERENCES audit.tree (tree_id)
);

CREATE INDEX entry_waiting_idx ON audit.entry (entry_id) WHERE leaf_index IS NULL;

COMMENT ON TABLE audit.entry IS 'Leaves: inserted without an index by the acting transaction, placed by the one sequencer.';

CREATE TABLE audit.tile (
	tree_id SMALLINT NOT NULL, 
	level SMALLINT NOT NULL, 
	number BIGINT NOT NULL, 
	hashes BYTEA NOT NULL, 
	CONSTRAINT tile_pkey PRIMARY KEY (tree_id, level, number), 
	CONSTRAINT tile_level_check CHECK (level BETWEEN 0 AND 7), 
	CONSTRAINT tile_number_check CHECK (number >= 0), 
	CONSTRAINT tile_hashes_check CHECK (octet_length(hashes) BETWEEN 32 AND 8192 AND octet_length(hashes) % 32 = 0), 
	FOREIGN KEY(tree_id) REFERENCES audit.tree (tree_id)
);

COMMENT ON TABLE audit.tile IS 'C2SP tiles: up to 256 hashes; only the last tile of a level is ever rewritten, and it only grows.';

CREATE TABLE segments.segment_version (
	key TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	purpose TEXT NOT NULL, 
	where_text TEXT NOT NULL, 
	where_json JSONB NOT NULL, 
	policy_fingerprint TEXT NOT NULL, 
	author TEXT NOT NULL, 
	created_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	CONSTRAINT segment_version_pkey PRIMARY KEY (key, version), 
	FOREIGN KEY(key) REFERENCES segments.segment (key) ON DELETE CASCADE
);

COMMENT ON TABLE segments.segment_version IS 'Definitions as they were written: never updated.';

CREATE TABLE audit.fact (
	entry_id BIGINT NOT NULL, 
	kind TEXT NOT NULL, 
	recorded_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	body JSONB NOT NULL, 
	salt BYTEA NOT NULL, 
	CONSTRAINT fact_pkey PRIMARY KEY (entry_id), 
	CONSTRAINT fact_salt_check CHECK (octet_length(salt) = 32), 
	CONSTRAINT fact_body_check CHECK (jsonb_typeof(body) = 'object'), 
	FOREIGN KEY(entry_id) REFERENCES audit.entry (entry_id)
);

CREATE INDEX fact_kind_recorded_at_idx ON audit.fact (kind, recorded_at);

COMMENT ON TABLE audit.fact IS 'What a leaf commits to, and the salt; counts, fixed words and ids of our records, nothing of a person.';

CREATE TABLE segments.membership (
	profile_id BIGINT NOT NULL, 
	key TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	since TIMESTAMP WITH TIME ZONE NOT NULL, 
	CONSTRAINT membership_pkey PRIMARY KEY (profile_id, key), 
	FOREIGN KEY(key, version) REFERENCES segments.segment_version (key, version) ON DELETE CASCADE
);

CREATE INDEX membership_key_idx ON segments.membership (key);

COMMENT ON TABLE segments.membership IS 'Who is in which segment since when, and under which version they were last found in.';

CREATE TABLE behavior.duplicate_0 PARTITION OF behavior.duplicate FOR VALUES WITH (MODULUS 8, REMAINDER 0);

CREATE TABLE behavior.duplicate_1 PARTITION OF behavior.duplicate FOR VALUES WITH (MODULUS 8, REMAINDER 1);

CREATE TABLE behavior.duplicate_2 PARTITION OF behavior.duplicate FOR VALUES WITH (MODULUS 8, REMAINDER 2);

CREATE TABLE behavior.duplicate_3 PARTITION OF behavior.duplicate FOR VALUES WITH (MODULUS 8, REMAINDER 3);

CREATE TABLE behavior.duplicate_4 PARTITION OF behavior.duplicate FOR VALUES WITH (MODULUS 8, REMAINDER 4);

CREATE TABLE behavior.duplicate_5 PARTITION OF behavior.duplicate FOR VALUES WITH (MODULUS 8, REMAINDER 5);

CREATE TABLE behavior.duplicate_6 PARTITION OF behavior.duplicate FOR VALUES WITH (MODULUS 8, REMAINDER 6);

CREATE TABLE behavior.duplicate_7 PARTITION OF behavior.duplicate FOR VALUES WITH (MODULUS 8, REMAINDER 7);

ALTER TABLE behavior.duplicate ALTER COLUMN body_digest SET STATISTICS 0;

ALTER TABLE behavior.event ALTER COLUMN sealed SET STATISTICS 0;

ALTER TABLE behavior.trait ALTER COLUMN sealed SET STATISTICS 0;

ALTER TABLE consent.permitted ALTER COLUMN reader_pseudonym SET STATISTICS 0;

ALTER TABLE consent.record ALTER COLUMN notice_hash SET STATISTICS 0;

ALTER TABLE consent.record ALTER COLUMN signal_hash SET STATISTICS 0;

ALTER TABLE destinations.outbox ALTER COLUMN recipient_pseudonym SET STATISTICS 0;

ALTER TABLE identity.anchor ALTER COLUMN members_digest SET STATISTICS 0;

ALTER TABLE identity.identifier ALTER COLUMN pseudonym SET STATISTICS 0;

ALTER TABLE identity.identifier ALTER COLUMN sealed SET STATISTICS 0;

ALTER TABLE identity.resolution ALTER COLUMN message_sealed SET STATISTICS 0;

ALTER TABLE rights.hold ALTER COLUMN sealed SET STATISTICS 0;

ALTER TABLE rights.request_identifier ALTER COLUMN sealed SET STATISTICS 0;

ALTER TABLE rights.suppression ALTER COLUMN pseudonym SET STATISTICS 0;

ALTER TABLE vault.subject_key ALTER COLUMN wrapped SET STATISTICS 0;

CREATE FUNCTION consent.present_instant() RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT coalesce((SELECT instant FROM access.instant_override), statement_timestamp()) $$;

REVOKE ALL ON FUNCTION consent.present_instant() FROM PUBLIC;

CREATE FUNCTION identity.advance_version() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF current_setting('cdp.advanced_by', true) IS DISTINCT FROM pg_catalog.pg_current_xact_id()::text THEN
        UPDATE identity.generation SET version = version + 1;
        PERFORM pg_catalog.set_config('cdp.advanced_by', pg_catalog.pg_current_xact_id()::text, true);
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION identity.advance_version_for_known() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF current_setting('cdp.advanced_by', true) IS DISTINCT FROM pg_catalog.pg_current_xact_id()::text AND EXISTS (
        SELECT FROM fresh
        WHERE NOT EXISTS (
            SELECT FROM identity.profile AS p
            WHERE p.profile_id = fresh.profile_id AND p.xmin = pg_catalog.pg_current_xact_id()::xid
        )
    ) THEN
        UPDATE identity.generation SET version = version + 1;
        PERFORM pg_catalog.set_config('cdp.advanced_by', pg_catalog.pg_current_xact_id()::text, true);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER version_after_update AFTER UPDATE ON identity.identifier FOR EACH ROW WHEN (OLD.is_shared IS DISTINCT FROM NEW.is_shared) EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_delete AFTER DELETE ON identity.identifier FOR EACH ROW EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_truncate AFTER TRUNCATE ON identity.identifier FOR EACH STATEMENT EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_update AFTER UPDATE ON identity.anchor FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_delete AFTER DELETE ON identity.anchor FOR EACH ROW EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_truncate AFTER TRUNCATE ON identity.anchor FOR EACH STATEMENT EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_update AFTER UPDATE ON identity.anchor_member FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_delete AFTER DELETE ON identity.anchor_member FOR EACH ROW EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_truncate AFTER TRUNCATE ON identity.anchor_member FOR EACH STATEMENT EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_update AFTER UPDATE ON identity.anchor_source FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_delete AFTER DELETE ON identity.anchor_source FOR EACH ROW EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_truncate AFTER TRUNCATE ON identity.anchor_source FOR EACH STATEMENT EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_update AFTER UPDATE ON identity.canonical FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_delete AFTER DELETE ON identity.canonical FOR EACH ROW EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_truncate AFTER TRUNCATE ON identity.canonical FOR EACH STATEMENT EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_update AFTER UPDATE ON identity.link FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_delete AFTER DELETE ON identity.link FOR EACH ROW EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_truncate AFTER TRUNCATE ON identity.link FOR EACH STATEMENT EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_update AFTER UPDATE ON identity.profile FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_delete AFTER DELETE ON identity.profile FOR EACH ROW EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_truncate AFTER TRUNCATE ON identity.profile FOR EACH STATEMENT EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_update AFTER UPDATE ON consent.permitted FOR EACH ROW WHEN ((OLD.since, OLD.until) IS DISTINCT FROM (NEW.since, NEW.until)) EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_delete AFTER DELETE ON consent.permitted FOR EACH ROW EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_truncate AFTER TRUNCATE ON consent.permitted FOR EACH STATEMENT EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_update AFTER UPDATE ON consent.refused FOR EACH ROW WHEN (OLD.reason IS DISTINCT FROM NEW.reason) EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_delete AFTER DELETE ON consent.refused FOR EACH ROW EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_truncate AFTER TRUNCATE ON consent.refused FOR EACH STATEMENT EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_update AFTER UPDATE ON rights.suppression FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_delete AFTER DELETE ON rights.suppression FOR EACH ROW EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_truncate AFTER TRUNCATE ON rights.suppression FOR EACH STATEMENT EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_insert AFTER INSERT ON rights.suppression FOR EACH STATEMENT EXECUTE FUNCTION identity.advance_version();

CREATE TRIGGER version_after_insert AFTER INSERT ON consent.permitted REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION identity.advance_version_for_known();

CREATE TRIGGER version_after_insert AFTER INSERT ON consent.refused REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION identity.advance_version_for_known();

INSERT INTO identity.generation (single, version, next_sequence) VALUES (1, 1, 1);

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'cdp_marketer') THEN
        CREATE ROLE cdp_marketer NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'role cdp_marketer was not created: ask an administrator to create it (NOLOGIN)';
    WHEN unique_violation OR duplicate_object THEN
        NULL;
END
$$;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
