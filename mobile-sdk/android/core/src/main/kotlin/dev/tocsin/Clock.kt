// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin

import dev.tocsin.kept.Offset
import java.io.IOException
import java.util.UUID
import kotlin.math.abs

/** The two clocks that a phone has. */
public interface Clock {
    /** Unix time in milliseconds, by the clock that people set, to whatever they like. */
    public fun wall(): Long

    /** Milliseconds since [boot], asleep or awake; nobody sets this one. */
    public fun elapsed(): Long

    /** What [elapsed] counts from: another text for another start of the system. */
    public val boot: String

    /** The clocks of a JVM. */
    public object System : Clock {
        override fun wall(): Long = java.lang.System.currentTimeMillis()

        override fun elapsed(): Long = java.lang.System.nanoTime() / 1_000_000

        override val boot: String = UUID.randomUUID().toString()
    }
}

/**
 * The server's clock, as far as the phone knows it: deadlines are the server's, and a phone whose clock is
 * an hour off must not take a page for missed. It is learnt from the answers of calls, and holds when
 * somebody sets the phone's clock, until the phone is started again.
 */
public class ServerClock internal constructor(private val clock: Clock, storage: Storage) {
    private val kept = Kept(storage, "clock", Offset.getDefaultInstance(), Offset.parser())

    @Volatile
    private var known: Offset = try {
        kept.get()
    } catch (_: IOException) {
        Offset.getDefaultInstance() // the phone's own clock, until a call is answered
    }

    /** Unix time in milliseconds by the server's clock; by the phone's while no call was ever answered. */
    public fun now(): Long {
        val known = known
        return when {
            known.serverMs == 0L -> clock.wall()
            known.boot == clock.boot -> known.serverMs + (clock.elapsed() - known.elapsedMs)
            else -> clock.wall() + (known.serverMs - known.wallMs)
        }
    }

    /**
     * Whether an answer has told the time since the phone was started. Until then [now] goes by the clock that people
     * set, and by how far that was off in another life: enough to order things by, not to silence a page.
     */
    public val certain: Boolean get() = known.serverMs != 0L && known.boot == clock.boot

    /** How far the phone's clock is behind the server's, in milliseconds; negative when it is ahead. */
    public fun offset(): Long = now() - clock.wall()

    /**
     * Takes in that the server's clock showed [server] at some time between [asked], by [Clock.elapsed], and now.
     * [grain] is how coarsely it was told, in milliseconds.
     */
    internal fun learn(server: Long, asked: Long, grain: Long) {
        val elapsed = clock.elapsed()
        val doubt = (elapsed - asked) / 2 + grain
        val next = Offset.newBuilder()
            .setServerMs(server + grain / 2 + (elapsed - asked) / 2)
            .setWallMs(clock.wall())
            .setElapsedMs(elapsed)
            .setBoot(clock.boot)
        if (certain && abs(next.serverMs - now()) <= doubt) {
            // By how much the phone's clock was set since: what is kept has to lead from the one that it has now.
            val set = abs((next.wallMs - next.elapsedMs) - (known.wallMs - known.elapsedMs))
            if (set <= STEADY) return // no news
            next.serverMs = now()
        }
        val learnt = next.build()
        known = learnt
        try {
            kept.change { learnt }
        } catch (_: IOException) {
            // It holds for this process; the next answer tells it again.
        }
    }

    private companion object {
        const val STEADY = 1_000L // networks correct clocks by less all the time
    }
}
