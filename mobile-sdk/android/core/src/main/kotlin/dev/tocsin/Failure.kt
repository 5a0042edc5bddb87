// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin

import com.google.protobuf.Any
import com.google.protobuf.InvalidProtocolBufferException
import com.google.protobuf.MessageLite
import com.google.protobuf.Parser
import dev.tocsin.failure.BadRequest
import dev.tocsin.failure.ErrorInfo
import dev.tocsin.failure.RequestInfo
import dev.tocsin.failure.RetryInfo
import io.grpc.Metadata
import io.grpc.Status

/**
 * A call that failed, by what the app does about it. [reason] is the server's word for programs
 * (`REVISION_MOVED`), empty when no server answered; [message] is a sentence for people, and [requestId] finds
 * the call in the server's log.
 */
public sealed class TocsinException(
    message: String,
    public val reason: String,
    public val requestId: String,
    cause: Throwable?,
) : Exception(message, cause) {

    /** The app's own mistake; [fields] says what is wrong with each. Not again as it is. */
    public class Mistake internal constructor(f: Facts, public val fields: Map<String, String>) : Failed(f)

    /** The thing is in the wrong state for it, and the message says why: read it again. */
    public class NotNow internal constructor(f: Facts) : Failed(f)

    /** Nobody is signed in on this phone any more, or yet; what was kept is forgotten. Ask to enrol again. */
    public class SignedOut internal constructor(f: Facts) : Failed(f)

    /** The link is used, over ten minutes old or wrong: ask for a new one. */
    public class LinkOver internal constructor(f: Facts) : Failed(f)

    /** It cannot be done from the card: open the app, and let the person do it there. */
    public class OpenApp internal constructor(f: Facts) : Failed(f)

    /** The person's role does not allow it: say so. */
    public class NotAllowed internal constructor(f: Facts) : Failed(f)

    /** It is not there: take it off the list. */
    public class Gone internal constructor(f: Facts) : Failed(f)

    /** Somebody changed it meanwhile: read again, show what changed, let the person decide. */
    public class Moved internal constructor(f: Facts) : Failed(f)

    /** The cursor leads nowhere any more: list again, and watch from there. */
    public class ListAgain internal constructor(f: Facts) : Failed(f)

    /** The server is busy or going: the same call with the same ids after [afterMs] milliseconds, or later. */
    public class Wait internal constructor(f: Facts, public val afterMs: Long) : Failed(f)

    /** The server failed at it: a few times more with the same ids, then show [requestId]. */
    public class ServerFault internal constructor(f: Facts) : Failed(f)

    /** No answer came: no connection, or nobody at the other end. Whether it was done is not known. */
    public class Unreachable internal constructor(f: Facts) : Failed(f)

    /** It could not be kept on the phone: its disk is full or cannot be read yet. */
    public class NotKept internal constructor(message: String, cause: Throwable) : TocsinException(message, "", "", cause)

    /** One that came out of a call. */
    public sealed class Failed(f: Facts) : TocsinException(f.message, f.reason, f.requestId, f.cause)

    /** Whether the same call, with the same ids, may be answered otherwise later. */
    public val passes: Boolean get() = this is Wait || this is ServerFault || this is Unreachable

    /** What a failed call carried. */
    public class Facts internal constructor(
        internal val message: String,
        internal val reason: String,
        internal val requestId: String,
        internal val cause: Throwable?,
    )

    internal companion object {
        private val DETAILS = Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER)
        private val RETRY_AFTER = Metadata.Key.of("retry-after", Metadata.ASCII_STRING_MARSHALLER)
        private val REQUEST_ID = Metadata.Key.of("x-request-id", Metadata.ASCII_STRING_MARSHALLER)

        fun of(status: Status, trailers: Metadata?, cause: Throwable): TocsinException {
            val details = trailers?.get(DETAILS)?.let { parse(it, dev.tocsin.failure.Status.parser()) }
                ?: dev.tocsin.failure.Status.getDefaultInstance()
            val id = trailers?.get(REQUEST_ID).orEmpty()
            // A proxy that is busy says so in a header, which gRPC hands on.
            val after = trailers?.get(RETRY_AFTER)?.trim()?.toLongOrNull()?.times(1_000)
            return of(status.code, details.message.ifEmpty { status.description.orEmpty() }, details.detailsList, id, after, cause)
        }

        private fun of(code: Status.Code, message: String, details: List<Any>, id: String, after: Long?, cause: Throwable?): TocsinException {
            val info = details.find("ErrorInfo", ErrorInfo.parser()) ?: ErrorInfo.getDefaultInstance()
            val request = details.find("RequestInfo", RequestInfo.parser())?.requestId ?: id
            val facts = Facts(message.ifEmpty { "the call failed: $code" }, info.reason, request, cause)
            val delay = details.delay() ?: after
            return when {
                delay != null && delay >= 0 -> Wait(facts, delay)
                // Whoever that was: a proxy, a hotel's login page, a connection that is gone. It was not
                // tocsin, so nobody is signed out by it.
                info.reason.isEmpty() -> if (code == Status.Code.INTERNAL || code == Status.Code.UNKNOWN) ServerFault(facts) else Unreachable(facts)
                info.metadataMap["reopen"] == "true" -> OpenApp(facts)
                info.reason == "CREDENTIAL_INVALID" -> SignedOut(facts)
                info.reason == "ENROLMENT_CODE" -> LinkOver(facts)
                info.reason == "CURSOR_TOO_OLD" -> ListAgain(facts)
                code == Status.Code.PERMISSION_DENIED -> NotAllowed(facts)
                code == Status.Code.NOT_FOUND -> Gone(facts)
                code == Status.Code.ABORTED -> Moved(facts)
                code == Status.Code.FAILED_PRECONDITION -> NotNow(facts)
                code == Status.Code.RESOURCE_EXHAUSTED || code == Status.Code.UNAVAILABLE -> Wait(facts, 0)
                code == Status.Code.DEADLINE_EXCEEDED || code == Status.Code.CANCELLED -> Unreachable(facts)
                code == Status.Code.INTERNAL || code == Status.Code.UNKNOWN || code == Status.Code.DATA_LOSS -> ServerFault(facts)
                else -> Mistake(facts, details.violations())
            }
        }

        private fun List<Any>.delay(): Long? =
            find("RetryInfo", RetryInfo.parser())?.retryDelay?.let { it.seconds * 1_000 + it.nanos / 1_000_000 }

        private fun List<Any>.violations(): Map<String, String> =
            find("BadRequest", BadRequest.parser())?.fieldViolationsList?.associate { it.field to it.description }.orEmpty()

        private fun <M : MessageLite> List<Any>.find(name: String, parser: Parser<M>): M? =
            firstOrNull { it.typeUrl.endsWith("/google.rpc.$name") }?.let { parse(it.value.toByteArray(), parser) }

        private fun <M : MessageLite> parse(bytes: ByteArray, parser: Parser<M>): M? =
            try {
                parser.parseFrom(bytes)
            } catch (_: InvalidProtocolBufferException) {
                null // what cannot be read says nothing
            }
    }
}
