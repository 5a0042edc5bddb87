// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin

import com.google.protobuf.ByteString
import com.google.protobuf.FieldMask
import dev.tocsin.kept.Home
import dev.tocsin.kept.Identity
import dev.tocsin.kept.SealKeys
import dev.tocsin.kept.Taps
import dev.tocsin.kept.Waiting
import dev.tocsin.v1.ActRequest
import dev.tocsin.v1.ActResponse
import dev.tocsin.v1.ConfirmDeviceAddressRequest
import dev.tocsin.v1.ConfirmTestPushRequest
import dev.tocsin.v1.Delivery
import dev.tocsin.v1.Device
import dev.tocsin.v1.EnrolDeviceRequest
import dev.tocsin.v1.Enrolment
import dev.tocsin.v1.GetDeviceRequest
import dev.tocsin.v1.PreviewEnrolmentRequest
import dev.tocsin.v1.Receipt
import dev.tocsin.v1.RegisterDeviceRequest
import dev.tocsin.v1.RegisterDeviceResponse
import dev.tocsin.v1.ReportReceiptsRequest
import dev.tocsin.v1.ReportReceiptsResponse
import dev.tocsin.v1.RevokeDeviceRequest
import dev.tocsin.v1.SendTestPushRequest
import dev.tocsin.v1.TestPush
import dev.tocsin.v1.UpdateDeviceRequest
import dev.tocsin.v1.WatchTestPushRequest
import java.io.IOException
import java.security.GeneralSecurityException
import java.util.UUID
import kotlin.coroutines.coroutineContext
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.emitAll
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.job
import kotlinx.coroutines.launch
import kotlinx.coroutines.withTimeoutOrNull

/** A key that signs only while the phone is unlocked: what proves that the owner was there. */
public interface UnlockKey {
    /** The public half, an uncompressed point of P-256, 65 bytes; null where there can be none. */
    public fun publicKey(): ByteArray?

    /** ECDSA with SHA-256 over [text], in ASN.1 DER. Throws [LockedException] while the phone is locked. */
    public fun sign(text: ByteArray): ByteArray
}

/** Who is signed in on the phone. */
public class Person internal constructor(
    /** The device's resource name, `devices/…`. */
    public val device: String,
    public val displayName: String,
    public val organization: String,
    public val origin: Origin,
)

/** A push that has reached the phone, and what to show. */
public class Incoming internal constructor(
    public val push: Push,
    public val arrival: Arrival,
    /** The texts that were sealed for the phone, null when there are none or they do not open. */
    public val text: SealedText?,
    /** Why they do not open: `locked` or `decrypt`, else empty. */
    public val unopened: String,
) {
    public val title: String get() = text?.title?.ifEmpty { null } ?: push.title
    public val subtitle: String get() = text?.subtitle ?: push.subtitle
    public val body: String get() = text?.body ?: push.body
}

/** What became of a push on the screen. */
public sealed class Shown {
    /** The system shows it. [audible] is null where that cannot be known. */
    public class Displayed(public val audible: Boolean?, public val quiet: String = "") : Shown()

    /** The system does not; [reason] is `permission`, `channel`, `dnd`, `full_screen` or `battery`. */
    public class Suppressed(public val reason: String) : Shown()

    /** There was nothing to show: a duplicate, a heartbeat, something old. */
    public object Nothing : Shown()
}

/** How the message came, as Firebase tells it: `high` or `normal`. Empty when nobody knows. */
public class Priority(public val arrived: String, public val sent: String) {
    public companion object {
        /** Nobody knows. */
        @JvmField
        public val UNKNOWN: Priority = Priority("", "")
    }
}

/**
 * The app on one phone, as a tocsin server knows it: signed in or not, paged, heard from. It is the whole of
 * what a phone does that needs no screen. One for each process; used by any number of threads. What it keeps is
 * in [open], readable from the start of the phone, and [secret], readable after the first unlock.
 *
 * [agent] is what the app calls itself ("Example On-Call/3.1"). Calls throw [TocsinException].
 */
public class Phone(
    private val open: Storage,
    private val secret: Storage,
    private val agent: String,
    internal val clocks: Clock = Clock.System,
    private val unlock: UnlockKey? = null,
) {
    private val home = Kept(open, "home", Home.getDefaultInstance(), Home.parser())
    private val identity = Kept(secret, "identity", Identity.getDefaultInstance(), Identity.parser())
    private val sealKeys = Kept(secret, "seal-keys", SealKeys.getDefaultInstance(), SealKeys.parser())

    /** The server's clock. */
    public val clock: ServerClock = ServerClock(clocks, open)
    private val arrivals = Arrivals(open)
    private val receipts = ReceiptQueue(open, clocks.elapsed())
    private val taps = TapQueue(open, clocks.elapsed(), clock.now())

    /** Incidents, inside the app. */
    public val incidents: Incidents = Incidents(this)

    /** Called after somebody was signed out, by the server or by a push; never by [signOut]. On Android it is taken: see `Tocsin.onSignedOut`. */
    @Volatile
    public var onSignedOut: (() -> Unit)? = null

    private var calls: Calls? = null

    // --- Who

    /** Who is signed in, or null. Throws [LockedException] before the first unlock. */
    @Throws(IOException::class)
    public fun person(): Person? {
        val home = home.get()
        val identity = identity.get()
        if (home.device.isEmpty() || identity.credential.isEmpty()) return null
        return Person(home.device, identity.userDisplayName, identity.organization, Origin.parse(home.origin))
    }

    /** Whose phone this would become by [link]. Uses nothing up: show it, and ask. */
    public suspend fun preview(link: EnrolmentLink): Enrolment =
        Calls.failing { to(link.origin).devices.within(CALL).previewEnrolment(PreviewEnrolmentRequest.newBuilder().setCode(link.code).build()) }

    /**
     * Makes this phone whose [preview] said, and whoever was signed in before is signed out first. [device] is what
     * the app knows of itself; ids and keys are added here. When this fails after the link was used, it takes a
     * new one.
     */
    public suspend fun enrol(link: EnrolmentLink, device: Device): Device {
        if (keeping("sign in") { identity.get().credential.trim() }.isNotEmpty()) {
            preview(link) // nobody is signed out for a link that is over
            try {
                revoke("another person signs in")
            } catch (_: TocsinException.SignedOut) {
                // as it should be
            }
            forget()
        }
        // A disk that is full must show before the link is used up, not after.
        val described = keeping("sign in") {
            identity.change { Identity.newBuilder().setCredential(" ".repeat(RESERVED)).build() }
            home.change { it.toBuilder().setOrigin(link.origin.toString()).clearDevice().build() }
            val described = describe(device)
            identity.change { Identity.getDefaultInstance() }
            described
        }
        val calls = to(link.origin)
        val request = EnrolDeviceRequest.newBuilder().setCode(link.code).setDevice(described).build()
        val answer = Calls.failing { calls.devices.within(CALL).enrolDevice(request) }
        try {
            keeping("keep who signed in; ask for a new link") {
                // The device first: pages come from now on, and what comes while there is none is shown to nobody.
                home.change { it.toBuilder().setDevice(answer.device.name).build() }
                identity.change {
                    Identity.newBuilder().setCredential(answer.credential).setUserDisplayName(answer.userDisplayName)
                        .setOrganization(answer.organization).build()
                }
            }
        } catch (e: TocsinException.NotKept) {
            // Nobody has the credential: the device must not be paged in vain.
            try {
                revoke("the phone could not keep who signed in", answer.credential)
            } catch (_: TocsinException) {
                // It stays in the person's list until somebody takes it out.
            }
            forget()
            throw e
        }
        return answer.device
    }

    /**
     * Tells the server everything that the app knows of itself: at every start, and when Firebase gives a new
     * token. When the answer says `confirmation_required`, a push with a nonce follows, see [confirmAddress].
     */
    public suspend fun register(device: Device): RegisterDeviceResponse {
        val described = keeping("register") { describe(device) }
        val answer = call { credential, calls ->
            calls.devices.within(CALL).registerDevice(RegisterDeviceRequest.newBuilder().setDevice(described).build(), Calls.bearer(credential))
        }
        if (answer.credential.isNotEmpty()) {
            keeping("keep who signed in") {
                identity.change { it.toBuilder().setCredential(answer.credential).build() }
                home.change { it.toBuilder().setDevice(answer.device.name).build() }
            }
        }
        return answer
    }

    /** Tells the server what has changed: the fields of [device] named in [mask], as `permission` and `capabilities`. */
    public suspend fun update(device: Device, vararg mask: String): Device = call { credential, calls ->
        val request = UpdateDeviceRequest.newBuilder().setDevice(device.toBuilder().setName(home.get().device))
            .setUpdateMask(FieldMask.newBuilder().addAllPaths(mask.asList())).build()
        calls.devices.within(CALL).updateDevice(request, Calls.bearer(credential))
    }

    /** Shows that the phone holds its address, by the [Push.nonce] that was pushed there. */
    public suspend fun confirmAddress(nonce: String): Device = call { credential, calls ->
        val request = ConfirmDeviceAddressRequest.newBuilder().setName(home.get().device).setNonce(nonce).build()
        calls.devices.within(CALL).confirmDeviceAddress(request, Calls.bearer(credential))
    }

    /** The device as the server has it: whether it can be paged, and why not. */
    public suspend fun device(): Device = call { credential, calls ->
        calls.devices.within(CALL).getDevice(GetDeviceRequest.newBuilder().setName(ME).build(), Calls.bearer(credential))
    }

    /**
     * Signs out. Whatever happens the phone forgets everything. False when the server could not be told: then the
     * app gives its token back to Firebase (`deleteToken`), so that no page reaches it.
     */
    public suspend fun signOut(): Boolean {
        val told = try {
            revoke("signed out on the phone")
            true
        } catch (e: TocsinException) {
            e is TocsinException.SignedOut
        }
        forget()
        return told
    }

    private suspend fun revoke(reason: String, credential: String = credentialOrNull().orEmpty()) {
        val request = RevokeDeviceRequest.newBuilder().setName(ME).setReason(reason).build()
        Calls.failing { connected().devices.within(CALL).revokeDevice(request, Calls.bearer(credential)) }
    }

    // --- Be paged

    /**
     * Reads the data of a message and says what to show; null when it is none of tocsin's. Show it, and call
     * [shown]. Nothing changes by it, but for the push that tells the app to wipe itself: that is done when this
     * returns. While nobody is signed in there is nothing to show.
     */
    public fun receive(data: Map<String, String>): Incoming? {
        val push = Push.read(data) ?: return null
        val device = try {
            home.get().device
        } catch (_: IOException) {
            null
        }
        // What still comes for whoever was signed in before is nobody's.
        if (device?.isEmpty() == true) return Incoming(push, Arrival.NOTHING, null, "")
        if (device != null && device == "devices/${push.wipe}") {
            signedOut()
            return Incoming(push, Arrival.NOTHING, null, "")
        }
        val arrival = try {
            val judged = arrivals.judge(push, clock.now())
            // What is late the push service throws away by itself: a clock that nobody has confirmed silences nothing.
            if (judged == Arrival.MISSED && !clock.certain) Arrival.RING else judged
        } catch (_: IOException) {
            // A page that rings twice is better than one that does not.
            if (push.kind == Push.Kind.HEARTBEAT) Arrival.NOTHING else if (push.audible) Arrival.RING else Arrival.REPLACE
        }
        if (push.sealed.isEmpty()) return Incoming(push, arrival, null, "")
        return try {
            val text = unseal(push)
            Incoming(push, arrival, text, if (text == null) "decrypt" else "")
        } catch (_: LockedException) {
            Incoming(push, arrival, null, "locked")
        } catch (_: IOException) {
            Incoming(push, arrival, null, "decrypt")
        } catch (_: GeneralSecurityException) {
            Incoming(push, arrival, null, "decrypt")
        }
    }

    /** Takes in what became of [incoming] on the screen: it is remembered, and receipts of it wait for [deliver]. */
    public fun shown(incoming: Incoming, how: Shown, priority: Priority = Priority.UNKNOWN, net: String = "", version: String = "", os: String = "") {
        val push = incoming.push
        if (push.wantsReceipt) {
            val receipt = Receipt.newBuilder().setDeliveryId(push.deliveryId).setDeviceAt(timestamp(clocks.wall()))
                .setServerOffsetMs(clock.offset().coerceIn(-Int.MAX_VALUE.toLong(), Int.MAX_VALUE.toLong()).toInt())
                .setPrio(priority.arrived).setOrigPrio(priority.sent).setNet(net).setAppVersion(version.take(32)).setOs(os.take(32))
            receipts.add(said(incoming, how, receipt).map { waiting(it, push.receiptKey) })
        }
        try {
            arrivals.remember(push, clock.now())
        } catch (_: IOException) {
            // It will ring once more if it comes once more.
        }
    }

    private fun said(incoming: Incoming, how: Shown, receipt: Receipt.Builder): List<Receipt> {
        val received = receipt.clone().setState(Receipt.State.STATE_RECEIVED).setReason(incoming.unopened).build()
        fun suppressed(reason: String) = receipt.clone().setState(Receipt.State.STATE_SUPPRESSED).setReason(reason).build()
        return when (incoming.arrival) {
            Arrival.DUPLICATE, Arrival.NOTHING -> listOf(received)
            Arrival.STALE -> listOf(received, suppressed("stale"))
            Arrival.MISSED -> listOf(received, suppressed("expired"))
            else -> when (how) {
                is Shown.Suppressed -> listOf(received, suppressed(how.reason))
                is Shown.Displayed -> listOf(received, receipt.clone().setState(Receipt.State.STATE_DISPLAYED).setReason(how.quiet).setAudible(audible(how)).build())
                Shown.Nothing -> listOf(received)
            }
        }
    }

    private fun audible(how: Shown.Displayed): Delivery.Audible = when (how.audible) {
        true -> Delivery.Audible.AUDIBLE_YES
        false -> Delivery.Audible.AUDIBLE_NO
        null -> Delivery.Audible.AUDIBLE_UNSPECIFIED
    }

    /** The person opened the card of [deliveryId]. */
    public fun opened(deliveryId: String) {
        val receipt = Receipt.newBuilder().setDeliveryId(deliveryId).setState(Receipt.State.STATE_OPENED).setDeviceAt(timestamp(clocks.wall())).build()
        receipts.add(listOf(waiting(receipt, "")))
    }

    private fun waiting(receipt: Receipt, key: String) =
        Waiting.Entry.newBuilder().setReceipt(receipt).setReceiptKey(key).setAtMs(clock.now()).build()

    // --- Act

    /**
     * Takes in a tap on a card. It is kept before this returns, see [Tap.kept], and sent by [deliver]. A second tap
     * on the same button, while the first waits, is that one. All but acknowledging needs an [UnlockKey], and throws
     * [LockedException] while the phone is locked: open the app.
     */
    @Throws(LockedException::class)
    public fun tap(card: Card, verb: ActRequest.Verb, note: String = ""): Tap {
        taps.same(card.deliveryId, verb)?.let { return it }
        val id = UUID.randomUUID().toString()
        val request = ActRequest.newBuilder().setActionId(id).setDeliveryId(card.deliveryId).setVerb(verb)
            .setAtDevice(timestamp(clocks.wall())).setNote(note.take(1_024)).setActionToken(card.actionToken)
        if (verb != ActRequest.Verb.VERB_ACKNOWLEDGE) {
            val key = unlock ?: throw LockedException("this phone has no key that proves that it is unlocked")
            request.unlockSignature = ByteString.copyFrom(key.sign(id.toByteArray()))
        }
        return taps.add(Taps.Entry.newBuilder().setRequest(request).setTag(card.tag).setTappedMs(clock.now()).setDeadlineMs(card.expires).build(), clocks.elapsed())
    }

    /** The taps of this process and those that wait, oldest first, and how it stands with each. */
    public fun taps(): List<Tap> = taps.all()

    /** Called when it stands otherwise with a tap, from within [deliver]: the card has to say so. On Android it is taken: see `Tocsin.onTap`. */
    @Volatile
    public var onTap: ((Tap) -> Unit)? = null

    /** The network is back, or the phone was unlocked: whatever waits is due. Call [deliver] then. */
    public fun hurry() {
        taps.hurry(clocks.elapsed())
        receipts.hurry(clocks.elapsed())
    }

    /**
     * Sends the taps and receipts that are due, and those that become due within [window] milliseconds; a call
     * under way at the end of it is waited for, 5 s at the most. Answers after how many milliseconds it wants to
     * be called again; null when nothing waits. It may run several times at once.
     */
    public suspend fun deliver(window: Long): Long? = coroutineScope {
        val end = clocks.elapsed() + window
        finishForgetting()
        while (true) {
            val seen = news.value
            val locked = credentialOrNull() == null
            taps.begin(clocks.elapsed()).forEach { launch { send(it) } }
            receipts.begin(clocks.elapsed(), clock.now(), locked)?.let { launch { send(it) } }
            taps.look(clocks.elapsed()).forEach { onTap?.invoke(it) }
            val next = wanted(locked) ?: break
            val left = end - clocks.elapsed()
            if (left <= 0) break
            withTimeoutOrNull(next.coerceIn(0, left)) { news.first { it != seen } }
        }
        coroutineContext.job.children.forEach { it.join() }
        taps.look(clocks.elapsed()).forEach { onTap?.invoke(it) }
        next()
    }

    /** After how many milliseconds [deliver] wants to be called; null when nothing waits. */
    public fun next(): Long? = wanted(credentialOrNull() == null)

    // Rises with each answer: whoever waits looks again.
    private val news = MutableStateFlow(0)

    private fun wanted(locked: Boolean): Long? =
        listOfNotNull(taps.next(), receipts.next(locked)).minOrNull()?.let { (it - clocks.elapsed()).coerceAtLeast(0) }

    private suspend fun send(tap: Tap) {
        var answer: Result<ActResponse>? = null
        try {
            answer = answer { act(tap.entry.request) }
        } finally {
            taps.answered(tap.actionId, clocks.elapsed(), answer)
            news.update { it + 1 }
        }
    }

    private suspend fun send(request: ReportReceiptsRequest) {
        var answer: Result<ReportReceiptsResponse>? = null
        try {
            answer = answer { report(request) }
        } finally {
            receipts.answered(clocks.elapsed(), answer)
            news.update { it + 1 }
        }
    }

    /** What a call came to; null when it was not made, or was broken off. */
    private suspend fun <A> answer(call: suspend () -> A?): Result<A>? =
        try {
            call()?.let { Result.success(it) }
        } catch (e: TocsinException) {
            Result.failure(e)
        } catch (_: IOException) {
            null // where it goes to cannot be read now
        }

    private suspend fun act(kept: ActRequest): ActResponse? {
        val credential = credentialOrNull().orEmpty()
        val request = when {
            credential.isNotEmpty() -> kept.toBuilder().clearActionToken().build()
            kept.actionToken.isNotEmpty() -> kept.toBuilder().clearNote().build()
            credentialOrNull() == null -> return null // it goes when the phone is unlocked
            else -> throw nobody()
        }
        return noticing {
            val asked = clocks.elapsed()
            val calls = connected()
            calls.devices.within(ACT).act(request, Calls.bearer(credential)).also { calls.learn(it.serverTime, asked) }
        }
    }

    private suspend fun report(request: ReportReceiptsRequest): ReportReceiptsResponse = noticing {
        val asked = clocks.elapsed()
        val calls = connected()
        val credential = if (request.receiptKey.isEmpty()) credentialOrNull().orEmpty() else ""
        calls.devices.within(ACT).reportReceipts(request, Calls.bearer(credential)).also { calls.learn(it.serverTime, asked) }
    }

    // --- Test

    /** Sends a page that differs from a real one by the word TEST alone. */
    public suspend fun sendTest(critical: Boolean = false): TestPush = call { credential, calls ->
        val request = SendTestPushRequest.newBuilder().setName(ME).setCritical(critical).setRequestId(UUID.randomUUID().toString()).build()
        calls.devices.within(CALL).sendTestPush(request, Calls.bearer(credential))
    }

    /** How far the test gets, until its verdict. */
    public fun watchTest(name: String): Flow<TestPush> = flow {
        noticing {
            val (credential, calls) = session()
            emitAll(calls.devices.watchTestPush(WatchTestPushRequest.newBuilder().setName(name).build(), Calls.bearer(credential)))
        }
    }

    /** Whether the person heard the test: only one that was received and heard has passed. */
    public suspend fun confirmTest(name: String, heard: Boolean): TestPush = call { credential, calls ->
        calls.devices.within(CALL).confirmTestPush(ConfirmTestPushRequest.newBuilder().setName(name).setHeard(heard).build(), Calls.bearer(credential))
    }

    /** Makes a new pair to seal for, as [Push] asks or after pages did not open. [register] tells the server. */
    public fun renewSealKey() {
        keeping("make a key") {
            sealKeys.change { keys ->
                val now = clock.now()
                val before = keys.pairsList
                    .map { if (it.replacedMs == 0L) it.toBuilder().setReplacedMs(now).build() else it }
                    .filter { it.replacedMs > now - PAGE_LIFE }
                keys.toBuilder().clearPairs().addPairs(newPair()).addAllPairs(before).build()
            }
        }
    }

    // --- Inside

    /** Everything the server is told of the app itself, with what only this library knows. */
    private fun describe(device: Device): Device {
        val installed = home.change { if (it.installId.isEmpty()) it.toBuilder().setInstallId(UUID.randomUUID().toString()).build() else it }
        val keys = sealKeys.change { if (it.pairsCount == 0) it.toBuilder().addPairs(newPair()).build() else it }
        val described = device.toBuilder().setInstallId(installed.installId).setPlatform(Device.Platform.PLATFORM_ANDROID)
            .setSealKey(keys.getPairs(0).publicKey).setSealKeyId(keys.getPairs(0).id)
        unlock?.publicKey()?.let { described.unlockKey = ByteString.copyFrom(it) }
        return described.build()
    }

    private fun newPair(): SealKeys.Pair {
        val (private, public) = Seal.pair()
        return SealKeys.Pair.newBuilder().setId(UUID.randomUUID().toString()).setPrivateKey(ByteString.copyFrom(private))
            .setPublicKey(ByteString.copyFrom(public)).build()
    }

    private fun unseal(push: Push): SealedText? {
        val pair = sealKeys.get().pairsList.firstOrNull { it.id == push.sealedKey } ?: return null
        val binding = Binding(push.deliveryId, push.incidentId, home.get().device.removePrefix("devices/"), push.sealedKey, push.expires / 1_000)
        return SealedText.read(Seal.open(push.sealed, Seal.privateKey(pair.privateKey.toByteArray()), pair.publicKey.toByteArray(), binding.aad()))
    }

    /** The credential; empty when nobody is signed in, null before the first unlock. */
    private fun credentialOrNull(): String? =
        try {
            identity.get().credential.trim()
        } catch (_: IOException) {
            null
        }

    internal suspend fun <A> call(call: suspend (String, Calls) -> A): A = noticing {
        val (credential, calls) = session()
        call(credential, calls)
    }

    internal fun session(): Pair<String, Calls> {
        val credential = keeping("read who is signed in") { identity.get().credential.trim() }
        if (credential.isEmpty()) throw nobody()
        return credential to connected()
    }

    /** Makes a call; when it says that the credential is gone, forgets it. */
    internal suspend fun <A> noticing(call: suspend () -> A): A {
        val before = credentialOrNull()
        try {
            return Calls.failing(call)
        } catch (e: TocsinException.SignedOut) {
            // Unless somebody has signed in meanwhile.
            if (!before.isNullOrEmpty() && credentialOrNull() == before) signedOut()
            throw e
        }
    }

    private fun signedOut() {
        forget()
        onSignedOut?.invoke()
    }

    /** Forgets everything but the installation's id. */
    private fun forget() {
        for (clear in listOf<() -> Unit>(identity::clear, sealKeys::clear, arrivals::clear, receipts::clear, { taps.clear(nobody()) })) {
            try {
                clear()
            } catch (_: IOException) {
                // What is locked now goes when it is not, see finishForgetting.
            }
        }
        try {
            home.change { Home.newBuilder().setInstallId(it.installId).build() }
        } catch (_: IOException) {
            // as above
        }
        disconnect()
    }

    /** What was locked when the phone was told to forget it. */
    private fun finishForgetting() {
        try {
            if (home.get().origin.isEmpty() && identity.get().credential.isNotBlank()) {
                identity.clear()
                sealKeys.clear()
            }
        } catch (_: IOException) {
            // It is locked still.
        }
    }

    private fun connected(): Calls {
        val origin = home.get().origin
        if (origin.isEmpty()) throw nobody()
        return to(Origin.parse(origin))
    }

    @Synchronized
    private fun to(origin: Origin): Calls {
        // When to try again is decided here, so a connection that is waiting to be tried is given up.
        calls?.let { if (it.origin == origin && !it.down) return it else it.close() }
        return Calls(origin, "$agent tocsin-android/$VERSION", clocks, clock).also { calls = it }
    }

    @Synchronized
    private fun disconnect() {
        calls?.close()
        calls = null
    }

    /** Ends its connections. It may be used again. */
    public fun close(): Unit = disconnect()

    private fun nobody() = TocsinException.SignedOut(TocsinException.Facts("nobody is signed in on this phone", "", "", null))

    private inline fun <A> keeping(what: String, how: () -> A): A =
        try {
            how()
        } catch (e: LockedException) {
            throw TocsinException.NotKept("$what: the phone was not unlocked since it was started", e)
        } catch (e: IOException) {
            throw TocsinException.NotKept("$what: the phone's disk does not take it: ${e.message}", e)
        }

    private companion object {
        const val ME = "devices/me"
        const val CALL = 10_000L
        const val ACT = 5_000L // a receiver of Android has about ten seconds
        const val RESERVED = 4_096
        const val PAGE_LIFE = 60 * 60_000L
        const val VERSION = "0.1.0"
    }
}

/** What a tap has to know of its card; it goes along in the button of the notification. */
public class Card(
    public val deliveryId: String,
    public val tag: String,
    /** By the server's clock, Unix milliseconds. */
    public val expires: Long,
    public val actionToken: String,
) {
    /** Without the token, which is a secret. */
    override fun toString(): String = "Card(delivery=$deliveryId, tag=$tag)"

    public companion object {
        /** The card that shows [incoming]. */
        @JvmStatic
        public fun of(incoming: Incoming): Card = Card(
            incoming.push.deliveryId, incoming.push.tag, incoming.push.expires,
            incoming.text?.actionToken?.ifEmpty { null } ?: incoming.push.actionToken,
        )
    }
}
