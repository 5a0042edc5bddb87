// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin.android

import android.content.Context
import android.content.Intent
import android.net.ConnectivityManager
import android.net.NetworkCapabilities
import android.os.Build
import android.os.SystemClock
import android.os.UserManager
import dev.tocsin.Arrival
import dev.tocsin.Card
import dev.tocsin.Clock
import dev.tocsin.EnrolmentLink
import dev.tocsin.LockedException
import dev.tocsin.Phone
import dev.tocsin.Priority
import dev.tocsin.Push
import dev.tocsin.Tap
import dev.tocsin.TocsinException
import dev.tocsin.v1.ActRequest.Verb
import dev.tocsin.v1.Device
import java.io.IOException
import java.util.Locale
import java.util.TimeZone
import java.util.concurrent.ConcurrentHashMap
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.job
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import kotlinx.coroutines.withTimeoutOrNull

/**
 * Paging in an app. [start] it in `Application.onCreate`, give it what Firebase brings ([onMessage], [onNewToken]),
 * and let the person enrol; cards, buttons, receipts and retries follow by themselves.
 */
public class Tocsin private constructor(private val context: Context, private val look: Look, clock: Clock) {
    private val open = Disks.open(context)

    /** Everything that needs no screen: who is signed in, incidents, tests. */
    public val phone: Phone = Phone(open, Disks.secret(context), look.agent, clock, KeystoreUnlockKey)
    private val channels = Channels(context, look)
    private val settings = Settings(context, channels)
    private val cards = Cards(context, look, channels, settings)
    private val untold = Untold(open)
    private val retry = Retry(context)
    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.IO)

    private val registering = Mutex()

    // What a tap's card is made of, while the process lives; afterwards it is made of the tap.
    private val tapped = ConcurrentHashMap<String, Tapped>()

    private class Tapped(val card: Card, val incidentId: String, val title: String)

    init {
        channels.make()
        phone.onTap = ::show
        phone.onSignedOut = {
            retry.cancel()
            tapped.clear() // what still comes of a tap says nothing of whose incident it was
            cards.signedOut()
            onSignedOut?.invoke()
        }
    }

    /** Called when it stands otherwise with a tap, after its card says so; on any thread. */
    @Volatile
    public var onTap: ((Tap) -> Unit)? = null

    /** Called after the server or a push has signed this phone out; on any thread. */
    @Volatile
    public var onSignedOut: (() -> Unit)? = null

    /** Who [link] would make the owner of this phone; show it, and ask. Throws [TocsinException]. */
    public suspend fun preview(link: EnrolmentLink): dev.tocsin.v1.Enrolment = phone.preview(link)

    /** Makes this phone theirs. Throws [TocsinException]. */
    public suspend fun enrol(link: EnrolmentLink): Device {
        channels.make()
        return phone.enrol(link, describe()).also { work() } // a token that came meanwhile is told now
    }

    /**
     * Signs out; the phone forgets everything. When it answers false the server could not be told: call
     * `FirebaseMessaging.getInstance().deleteToken()`, so that no page reaches this phone.
     */
    public suspend fun signOut(): Boolean {
        val told = phone.signOut()
        retry.cancel()
        tapped.clear()
        cards.clear()
        return told
    }

    /** What the phone lets a page do. */
    public fun readiness(): Readiness {
        channels.make()
        return settings.read()
    }

    /**
     * Tells the server what has changed: settings, language, version, token. Call it when the app comes to the
     * front, and when the person comes back from the system's settings. It returns at once, and is retried.
     */
    public fun refresh() {
        channels.make()
        untold.add()
        work()
    }

    /** Firebase has given the app another token: from `FirebaseMessagingService.onNewToken`. */
    public fun onNewToken(token: String) {
        untold.token = token
        refresh()
    }

    /**
     * A message of Firebase: from `FirebaseMessagingService.onMessageReceived`, with `data`, `priority` and
     * `originalPriority` of the message. Shows it and reports it before it returns, within 10 s. False: it is none of
     * tocsin's.
     */
    public fun onMessage(data: Map<String, String>, priority: Int, originalPriority: Int): Boolean {
        val incoming = phone.receive(data) ?: return false
        val push = incoming.push
        channels.make()
        val how = cards.show(incoming, phone.clock.now().takeIf { phone.clock.certain })
        phone.shown(incoming, how, Priority(word(priority), word(originalPriority)), network(), version(), Build.VERSION.RELEASE.orEmpty())
        if (incoming.arrival != Arrival.DUPLICATE) {
            if (push.kind == Push.Kind.PAGE) phone.hurry()
            if (asks(push)) renewSealKey()
            push.nonce?.let(::confirm)
        }
        runBlocking { deliver(AT_A_MESSAGE) }
        return true
    }

    private fun asks(push: Push) = push.extra["ask"] == "seal_key"

    private fun renewSealKey() {
        try {
            phone.renewSealKey()
            untold.add()
        } catch (_: TocsinException) {
            // Locked, or full: pages come in their minimal form until the server asks again.
        }
    }

    private fun confirm(nonce: String) {
        scope.launch {
            try {
                phone.confirmAddress(nonce)
            } catch (_: TocsinException) {
                // The next registration brings another nonce.
                refresh()
            }
        }
    }

    /** The person opened a card: the app gives the intent that it was opened by. */
    public fun onOpened(intent: Intent?) {
        val delivery = intent?.getStringExtra(EXTRA_DELIVERY).orEmpty()
        if (delivery.isEmpty()) return
        phone.opened(delivery)
        work()
    }

    // --- Taps

    /**
     * Acts on the incident of a card from within the app, as the card's own button does: kept before this returns,
     * and sent until the server answers, offline and over a restart. All but acknowledging throws [LockedException]
     * while the phone is locked.
     */
    @Throws(LockedException::class)
    public fun act(card: Card, incidentId: String, verb: Verb): Tap = tap(card, incidentId, verb).also { work() }

    /** As [act], and whoever calls it sends it by [work]. */
    internal fun tap(card: Card, incidentId: String, verb: Verb): Tap {
        val title = cards.title(card.tag).ifEmpty { look.texts.pages }
        val before = phone.taps().filter { !it.state.over }.map { it.actionId }.toSet()
        val tap = phone.tap(card, verb)
        tapped.putIfAbsent(tap.actionId, Tapped(card, incidentId, title))
        if (tap.actionId in before) phone.hurry() // the person asks for it again
        retry.confirm(card.tag)
        show(tap)
        return tap
    }

    private fun show(tap: Tap) {
        // As it stands now, and one at a time: who tells late that it is on its way must not cover the answer.
        val now = synchronized(cards) {
            val now = phone.taps().firstOrNull { it.actionId == tap.actionId } ?: tap
            val of = tapped[tap.actionId] ?: Tapped(Card(tap.deliveryId, tap.tag, 0, ""), "", cards.title(tap.tag).ifEmpty { look.texts.pages })
            cards.show(now, of.card, of.incidentId, of.title, locked())
            if (now.state.over) {
                tapped.remove(tap.actionId)
                retry.confirmed(tap.tag)
            }
            now
        }
        onTap?.invoke(now)
    }

    // --- Work that outlives a moment

    /** Does what waits, in the background; a job of the system takes over what is left. */
    internal fun work(window: Long = AT_ONCE, done: () -> Unit = {}) {
        scope.launch {
            try {
                deliver(window)
            } finally {
                done()
            }
        }
    }

    /** When all that [work] began has ended. */
    internal suspend fun settled() = scope.coroutineContext.job.children.forEach { it.join() }

    internal suspend fun deliver(window: Long): Long? = coroutineScope {
        // Beside the rest: no tap and no receipt waits until the server has heard of a setting.
        val beside = launch { withTimeoutOrNull(window + A_CALL) { register() } }
        phone.deliver(window)
        beside.join()
        retry.plan { listOfNotNull(phone.next(), REGISTER_AGAIN.takeIf { untold.wish() != null && signedIn() }).minOrNull() }
    }

    /** The network is back, or the phone is unlocked, or started. */
    internal fun hurry() = phone.hurry()

    private fun signedIn() =
        try {
            phone.person() != null
        } catch (_: IOException) {
            false // before the first unlock there is no credential to do it by
        }

    // One call at a time: of two, the server might believe the one with the token of before.
    private suspend fun register() = registering.withLock {
        while (true) {
            val wish = untold.wish()
            if (wish == null || !signedIn()) return@withLock
            try {
                val answer = phone.register(describe())
                // A key that does not open what is sealed for it: another, and told at once.
                if (answer.device.hasSealKeyFailedTime()) {
                    phone.renewSealKey()
                    phone.register(describe())
                }
                untold.told(wish)
                if (untold.wish() == wish) return@withLock // the disk does not forget it: not again at once
            } catch (e: TocsinException) {
                if (!e.passes && e !is TocsinException.NotKept) untold.told(wish)
                return@withLock
            } catch (_: IOException) {
                return@withLock // it is told once more
            }
        }
    }

    private fun describe(): Device {
        val readiness = settings.read()
        val device = Device.newBuilder()
            .setAppId(context.packageName)
            .setAppVersion(version())
            .setOsVersion(Build.VERSION.RELEASE.orEmpty().take(32))
            .setModel("${Build.MANUFACTURER} ${Build.MODEL}".take(64))
            .setLocale(Locale.getDefault().toLanguageTag().take(35))
            .setTimeZone(TimeZone.getDefault().id)
            .setCapabilities(readiness.capabilities())
            .setPermission(readiness.permission())
        untold.token?.let { device.setAddress(Device.Address.newBuilder().setKind(Device.Address.Kind.KIND_FCM).setValue(it)) }
        return device.build()
    }

    private fun version(): String =
        context.packageManager.getPackageInfo(context.packageName, 0).versionName.orEmpty().take(32)

    private fun network(): String {
        val connectivity = context.service<ConnectivityManager>()
        val active = connectivity.activeNetwork?.let(connectivity::getNetworkCapabilities) ?: return "none"
        return when {
            active.hasTransport(NetworkCapabilities.TRANSPORT_WIFI) -> "wifi"
            active.hasTransport(NetworkCapabilities.TRANSPORT_CELLULAR) -> "cellular"
            else -> ""
        }
    }

    private fun locked() = !context.service<UserManager>().isUserUnlocked

    // RemoteMessage.PRIORITY_HIGH and PRIORITY_NORMAL.
    private fun word(priority: Int) = when (priority) {
        1 -> "high"
        2 -> "normal"
        else -> ""
    }

    public companion object {
        /** The delivery that a card was about, in the intent that opens the app; see [onOpened]. */
        public const val EXTRA_DELIVERY: String = "dev.tocsin.delivery"

        private const val AT_ONCE = 4_000L // with a call of 5 s at its end, what a receiver has
        private const val AT_A_MESSAGE = 0L // one try; the job does the rest
        private const val A_CALL = 5_000L
        private const val REGISTER_AGAIN = 60_000L

        @Volatile
        private var started: Tocsin? = null

        /** Starts paging in this process; from `Application.onCreate`, and with the same [look] each time. */
        @JvmStatic
        public fun start(context: Context, look: Look): Tocsin = start(context, look, PhoneClock(context))

        internal fun start(context: Context, look: Look, clock: Clock): Tocsin = synchronized(this) {
            started ?: Tocsin(context.applicationContext, look, clock).also { started = it }
        }

        /** Null when the app has not called [start]: its receivers cannot do anything then. */
        internal val running: Tocsin? get() = started

        /** As if the process ended. */
        internal fun stop() {
            started?.phone?.close()
            started = null
        }
    }
}

/** The clocks of Android: the one that counts on in sleep. */
internal class PhoneClock(context: Context) : Clock {
    override fun wall(): Long = System.currentTimeMillis()

    override fun elapsed(): Long = SystemClock.elapsedRealtime()

    override val boot: String =
        android.provider.Settings.Global.getInt(context.contentResolver, android.provider.Settings.Global.BOOT_COUNT, 0).toString()
}
