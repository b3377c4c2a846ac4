/**
 * The one table of errors. Code is API: clients branch on it, docs/errors.md lists it, a test holds the two together.
 * `retryable` says whether the same input may succeed later; `httpStatus` is what query-api answers with.
 */
export const ERRORS = {
  // A picture's own faults: permanent, they go on the object's failure record.
  picture_empty: { message: 'The file has no bytes.', retryable: false, httpStatus: 422 },
  picture_too_many_bytes: { message: 'The file is larger than MAX_PICTURE_BYTES.', retryable: false, httpStatus: 413 },
  picture_too_many_pixels: { message: 'The picture has more pixels than MAX_PICTURE_PIXELS.', retryable: false, httpStatus: 422 },
  picture_not_a_picture: { message: 'The bytes are not those of any picture format.', retryable: false, httpStatus: 415 },
  picture_format_unsupported: { message: 'A picture format that is not decoded here.', retryable: false, httpStatus: 415 },
  picture_truncated: { message: 'The picture ends before its data does.', retryable: false, httpStatus: 422 },
  picture_corrupt: { message: 'The picture cannot be decoded.', retryable: false, httpStatus: 422 },
  picture_checksum_wrong: { message: "The picture's own checksum does not match its data.", retryable: false, httpStatus: 422 },
  picture_header_invalid: { message: "The picture's header contradicts its format.", retryable: false, httpStatus: 422 },
  picture_zero_size: { message: 'The picture has no width or no height.', retryable: false, httpStatus: 422 },
  picture_aspect_extreme: { message: 'The picture is too long for its width to be resized.', retryable: false, httpStatus: 422 },
  picture_depth_unsupported: {
    message: 'The picture has samples of a depth that is not decoded here.',
    retryable: false,
    httpStatus: 415,
  },
  picture_colours_unsupported: {
    message: 'The picture has a colour model that is not converted here.',
    retryable: false,
    httpStatus: 415,
  },
  picture_too_slow: { message: 'Decoding the picture took longer than is allowed.', retryable: false, httpStatus: 422 },
  picture_kills_decoder: {
    message: 'Decoding the picture ended the worker that tried, each time.',
    retryable: false,
    httpStatus: 422,
  },
  picture_is_vector: { message: 'The file is a vector drawing, which is not drawn here.', retryable: false, httpStatus: 415 },
  picture_is_document: { message: 'The file is a document, not a picture.', retryable: false, httpStatus: 415 },
  picture_is_video: { message: 'The file is a video or sound, not a picture.', retryable: false, httpStatus: 415 },
  picture_is_archive: { message: 'The file is an archive, not a picture.', retryable: false, httpStatus: 415 },
  picture_is_text: { message: 'The file is text, such as an error page, not a picture.', retryable: false, httpStatus: 415 },
  // Objects and sources.
  object_not_found: { message: 'The object is not there.', retryable: false, httpStatus: 404 },
  object_changed: { message: 'The object changed while it was read.', retryable: true, httpStatus: 409 },
  object_forbidden: { message: 'The object store refuses access to the object.', retryable: false, httpStatus: 403 },
  object_store_unavailable: { message: 'The object store does not answer.', retryable: true, httpStatus: 503 },
  object_listing_unordered: {
    message: 'The object store lists its keys out of byte order, so a listing could not be resumed.',
    retryable: false,
    httpStatus: 422,
  },
  key_outside_source: { message: 'The key leads out of its source.', retryable: false, httpStatus: 422 },
  source_not_found: { message: 'The source does not exist or cannot be read.', retryable: false, httpStatus: 422 },
  source_not_allowed: { message: 'This source type is not accepted here.', retryable: false, httpStatus: 403 },
  manifest_line_invalid: { message: 'A manifest line is not a valid record.', retryable: false, httpStatus: 422 },
  item_message_invalid: { message: 'A message is not a valid item record.', retryable: false, httpStatus: 422 },
  // Encoders and packs.
  pack_not_found: { message: 'There is no pack of that name or path.', retryable: false, httpStatus: 422 },
  hub_unavailable: { message: 'The hub of encoder packs cannot be reached.', retryable: true, httpStatus: 503 },
  pack_invalid: { message: 'The pack is incomplete or contradicts itself.', retryable: false, httpStatus: 422 },
  pack_drifted: { message: "The encoder's output differs from its pack's golden vectors.", retryable: false, httpStatus: 500 },
  encoder_unavailable: { message: 'The encoder does not answer.', retryable: true, httpStatus: 503 },
  encoder_failed: { message: 'The encoder failed on this input.', retryable: false, httpStatus: 500 },
  // Index and search.
  index_encoder_mismatch: { message: 'The index was built with another encoder.', retryable: false, httpStatus: 409 },
  index_unavailable: { message: 'The vector index does not answer.', retryable: true, httpStatus: 503 },
  asset_not_found: { message: 'There is no such asset.', retryable: false, httpStatus: 404 },
  item_not_found: { message: 'There is no such item.', retryable: false, httpStatus: 404 },
  // Questions.
  question_not_found: { message: 'There is no such question, or it is not kept any more.', retryable: false, httpStatus: 404 },
  question_backlog_full: {
    message: 'Too many questions wait to be answered; Retry-After says when to ask again.',
    retryable: true,
    httpStatus: 429,
  },
  question_state: { message: 'The question is in a state in which that cannot be done.', retryable: false, httpStatus: 409 },
  question_kills_worker: {
    message: 'Answering the question ended the worker that tried, each time.',
    retryable: false,
    httpStatus: 500,
  },
  question_too_long: { message: "The question does not fit the model's context.", retryable: false, httpStatus: 422 },
  feedback_full: {
    message: 'So many reviewers have judged this answer that no further one is taken.',
    retryable: false,
    httpStatus: 409,
  },
  question_image_not_found: { message: 'The answer has no such picture.', retryable: false, httpStatus: 404 },
  idempotency_key_reused: {
    message: 'The idempotency key was used for another question.',
    retryable: false,
    httpStatus: 422,
  },
  // The model server.
  generator_unavailable: { message: 'The model server does not answer.', retryable: true, httpStatus: 503 },
  generator_timeout: { message: 'The model server did not answer in time.', retryable: true, httpStatus: 504 },
  generator_refused: { message: 'The model server refuses the request.', retryable: false, httpStatus: 502 },
  generator_context_exceeded: { message: "The prompt is longer than the model's context.", retryable: false, httpStatus: 502 },
  generator_malformed: { message: 'The model server answered outside its protocol.', retryable: true, httpStatus: 502 },
  generator_empty: { message: 'The model gave no answer.', retryable: true, httpStatus: 502 },
  // Webhooks.
  webhook_not_found: { message: 'There is no such webhook.', retryable: false, httpStatus: 404 },
  too_many_webhooks: { message: 'The tenant has as many webhooks as are allowed.', retryable: false, httpStatus: 409 },
  delivery_not_found: { message: 'There is no such delivery, or it is not kept any more.', retryable: false, httpStatus: 404 },
  // Ledger and flow.
  ingestion_not_found: { message: 'There is no such ingestion.', retryable: false, httpStatus: 404 },
  ingestion_state: { message: 'The ingestion is in a state in which that cannot be done.', retryable: false, httpStatus: 409 },
  too_many_ingestions: { message: 'Too many ingestions of this tenant are going.', retryable: true, httpStatus: 429 },
  migration_not_found: { message: 'There is no such migration.', retryable: false, httpStatus: 404 },
  migration_state: { message: 'The migration is in a state in which that cannot be done.', retryable: false, httpStatus: 409 },
  migration_running: { message: 'A migration is going: one at a time.', retryable: false, httpStatus: 409 },
  report_not_found: {
    message: 'There is no report: the ingestion is not over, or its report has expired.',
    retryable: false,
    httpStatus: 404,
  },
  audit_not_found: { message: 'There is no such audit.', retryable: false, httpStatus: 404 },
  audit_state: { message: 'The audit is in a state in which that cannot be done.', retryable: false, httpStatus: 409 },
  audit_findings_expired: { message: 'The findings of the audit are not kept any more.', retryable: false, httpStatus: 404 },
  audit_kills_worker: { message: 'The audit ended the worker that tried, each time.', retryable: false, httpStatus: 500 },
  too_many_audits: { message: 'Too many audits of this tenant are going.', retryable: true, httpStatus: 429 },
  job_handed_back: {
    message: 'This worker does not serve what the job asks for; another one does.',
    retryable: true,
    httpStatus: 503,
  },
  lease_lost: { message: 'Another writer took over while this one stood still.', retryable: true, httpStatus: 409 },
  ledger_full: { message: 'The ledger has no room left; work goes on when it has.', retryable: true, httpStatus: 503 },
  events_unavailable: { message: 'The event log does not answer.', retryable: true, httpStatus: 503 },
  api_key_exists: { message: 'There is an API key of that id or secret already.', retryable: false, httpStatus: 409 },
  ledger_unavailable: { message: 'The ledger does not answer.', retryable: true, httpStatus: 503 },
  queue_unavailable: { message: 'The queue does not answer.', retryable: true, httpStatus: 503 },
  // Addresses that users give.
  url_not_allowed: { message: 'This address is not called from here.', retryable: false, httpStatus: 422 },
  url_unreachable: { message: 'The address cannot be reached, or does not speak HTTP.', retryable: true, httpStatus: 502 },
  url_timeout: { message: 'The address did not answer in time.', retryable: true, httpStatus: 504 },
  url_answer_too_large: { message: 'The answer of the address is over the limit.', retryable: false, httpStatus: 502 },
  url_answer_not_ok: { message: 'The address answered with another status than 200.', retryable: false, httpStatus: 422 },
  // The embedded stores' files.
  store_format_unsupported: {
    message: 'The database file is of another kind or a newer format.',
    retryable: false,
    httpStatus: 500,
  },
  store_damaged: { message: 'The database file is damaged.', retryable: false, httpStatus: 500 },
  // Requests.
  request_invalid: { message: 'The request does not have the documented shape.', retryable: false, httpStatus: 400 },
  request_too_large: { message: 'The request body is over the limit.', retryable: false, httpStatus: 413 },
  host_not_allowed: {
    message: 'Without an API key only loopback hosts and the own origin are answered.',
    retryable: false,
    httpStatus: 403,
  },
  api_key_missing: { message: 'An API key is needed: Authorization: Bearer sl_...', retryable: false, httpStatus: 401 },
  api_key_invalid: { message: 'The API key is not valid.', retryable: false, httpStatus: 401 },
  scope_missing: { message: 'The API key does not have the scope that this needs.', retryable: false, httpStatus: 403 },
  api_key_not_found: { message: 'There is no such API key.', retryable: false, httpStatus: 404 },
  rate_limited: { message: 'Too many requests in this time; Retry-After says when to go on.', retryable: true, httpStatus: 429 },
  route_not_found: { message: 'There is no such route.', retryable: false, httpStatus: 404 },
  overloaded: { message: 'Too much is being asked at once; try again shortly.', retryable: true, httpStatus: 503 },
  asset_busy: { message: 'The asset is being written; try again.', retryable: true, httpStatus: 409 },
  data_dir_in_use: { message: 'Another Sightline is running on this DATA_DIR.', retryable: false, httpStatus: 500 },
  port_taken: { message: 'Another program listens on this port.', retryable: false, httpStatus: 500 },
  config_invalid: { message: 'The configuration is invalid.', retryable: false, httpStatus: 500 },
  internal: { message: 'An unexpected error; the log has it under this trace id.', retryable: true, httpStatus: 500 },
} as const satisfies Record<string, { message: string; retryable: boolean; httpStatus: number }>;

export type ErrorCode = keyof typeof ERRORS;

/** The one error class. Branch on `code`, never on text; `detail` is for people and may be shown to clients. */
export class SightlineError extends Error {
  readonly code: ErrorCode;
  readonly detail: string | undefined;

  constructor(code: ErrorCode, detail?: string, options?: { cause?: unknown }) {
    super(detail ? `${ERRORS[code].message} ${detail}` : ERRORS[code].message, options);
    this.name = 'SightlineError';
    this.code = code;
    this.detail = detail;
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }
}

/**
 * What a tenant is told of an error: the code and the table's message. Details may name parts of the stack, such as addresses and
 * what a server answered: those are the log's.
 */
export function reasonFor(error: SightlineError): string {
  return `${error.code}: ${ERRORS[error.code].message}`;
}

/** What a tenant is told of an object's failure: with its details where these speak of the tenant's own object alone. */
export function failureReasonFor({ code, message }: SightlineError): string {
  return isOfTheObject(code) ? message : ERRORS[code].message;
}

/** Whether an error's details speak of what the tenant brought, and of nothing else. */
export function isOfTheObject(code: ErrorCode): boolean {
  return code.startsWith('picture_') || code === 'object_not_found' || code === 'manifest_line_invalid';
}

/** Any thrown value as a SightlineError; what is not one already becomes `internal` with its cause kept. */
export function toSightlineError(error: unknown): SightlineError {
  if (error instanceof SightlineError) return error;
  return new SightlineError('internal', error instanceof Error ? error.message : String(error), { cause: error });
}
