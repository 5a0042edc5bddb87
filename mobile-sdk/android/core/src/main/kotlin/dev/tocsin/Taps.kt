// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin

import dev.tocsin.kept.Taps.Entry
import dev.tocsin.v1.ActRequest
import dev.tocsin.v1.ActResponse
import java.io.IOException
import kotlin.math.max
import kotlin.math.min

/** A tap on a card, under an id that stays the same however often it is sent, and how it stands with it. */
public class Tap internal constructor(internal val entry: Entry, kept: Boolean, state: TapState) {
    public val actionId: String get() = entry.request.actionId
    public val deliveryId: String get() = entry.request.deliveryId
    public val verb: ActRequest.Verb get() = entry.request.verb

    /** Of the card that was tapped. */
    public val tag: String get() = entry.tag

    /**
     * Whether it outlives the process. A full disk keeps nothing: such a tap is sent all the same, while the
     * app lives, and the card says so.
     */
    public val kept: Boolean = kept

    /** How it stood with the tap when this was made. */
    public val state: TapState = state

    override fun toString(): String = "Tap($verb, action=$actionId, delivery=$deliveryId, ${state.javaClass.simpleName})"
}

/** How it stands with a tap. Nothing but [Done] means that the server has it. */
public sealed class TapState {
    /** On its way: the card says "acknowledging…". */
    public object Acting : TapState()

    /** No answer for 15 seconds: the card says so, with a sound, and can be tapped. It is still sent. */
    public object Unconfirmed : TapState()

    /** The server answered: the card shows the state, and who holds the incident. */
    public class Done internal constructor(public val answer: ActResponse) : TapState()

    /** The server will not: the card says that it was not done, and opens the app. */
    public class Refused internal constructor(public val error: TocsinException) : TapState()

    /** Nobody answered in all the time that it was worth something: as [Refused]. */
    public object GivenUp : TapState()

    /** Whether nothing more comes. */
    public val over: Boolean get() = this is Done || this is Refused || this is GivenUp
}

/**
 * Taps that the server has not answered: when each is sent, and what is shown of it. `now` is milliseconds by
 * [Clock.elapsed]: what is due stays due when the server's clock turns out to be another, or somebody sets the
 * phone's. At its start it is told what that is by the server's clock, by which taps are kept.
 */
internal class TapQueue(storage: Storage, now: Long, server: Long, private val pause: Pause = Pause()) {
    private class Item(val entry: Entry, val kept: Boolean, val tapped: Long, var due: Long) {
        var flying = false
        var tried = 0
        var state: TapState = TapState.Acting
        val id: String get() = entry.request.actionId

        /** Ten minutes after the deadline, and at least for that long, whatever the phone's clock says. */
        val end: Long get() = tapped + max(entry.deadlineMs - entry.tappedMs, 0) + PATIENCE

        fun tap() = Tap(entry, kept, state)
    }

    private val kept = Kept(storage, "taps", dev.tocsin.kept.Taps.getDefaultInstance(), dev.tocsin.kept.Taps.parser())
    private val items = ArrayList<Item>()
    private val told = HashMap<String, TapState>() // what [look] said last of each

    init {
        try {
            kept.get().entriesList.forEach { items.add(Item(it, true, now - max(server - it.tappedMs, 0), now)) }
        } catch (_: IOException) {
            // A disk that cannot be read keeps nobody from tapping.
        }
    }

    /** The tap of the same button of the same card that waits, or null. */
    @Synchronized
    fun same(deliveryId: String, verb: ActRequest.Verb): Tap? =
        items.firstOrNull { !it.state.over && it.entry.request.deliveryId == deliveryId && it.entry.request.verb == verb }?.tap()

    /** Takes in a tap, and has kept it when it returns, unless the disk is full. */
    @Synchronized
    fun add(entry: Entry, now: Long): Tap {
        same(entry.request.deliveryId, entry.request.verb)?.let { return it }
        val onDisk = try {
            kept.change { it.toBuilder().addEntries(entry).build() }
            true
        } catch (_: IOException) {
            false
        }
        val item = Item(entry, onDisk, now, now)
        items.add(item)
        // What is over is remembered for whoever looks at it, and not for ever.
        while (items.size > REMEMBERED) items.remove(items.firstOrNull { it.state.over } ?: break)
        return item.tap()
    }

    /** The taps whose call begins now; each has to be [answered]. */
    @Synchronized
    fun begin(now: Long): List<Tap> = items
        .filter { !it.state.over && !it.flying && it.due <= now && (it.tried == 0 || now < it.end) }
        .onEach {
            it.flying = true
            it.tried++
        }
        .map { it.tap() }

    /** The call of [actionId] has ended. Null in place of an error: it cannot be made before the first unlock. */
    @Synchronized
    fun answered(actionId: String, now: Long, answer: Result<ActResponse>?) {
        val item = items.firstOrNull { it.id == actionId } ?: return
        item.flying = false
        if (item.state.over) return
        val error = answer?.exceptionOrNull()
        when {
            answer != null && error == null -> over(item, TapState.Done(answer.getOrThrow()))
            error is TocsinException && !error.passes -> over(item, TapState.Refused(error))
            else -> item.due = now + pause.after(item.tried, error as? TocsinException)
        }
    }

    /** The network is back, or the phone was unlocked: what waits is due. */
    @Synchronized
    fun hurry(now: Long) = items.forEach { it.due = min(it.due, now) }

    /** What has changed on the screen by [now]. Call it after whatever happened. */
    @Synchronized
    fun look(now: Long): List<Tap> {
        for (item in items) {
            when {
                item.state.over -> {}
                now >= item.end && !item.flying && item.tried > 0 -> over(item, TapState.GivenUp)
                now >= item.tapped + CONFIRM -> item.state = TapState.Unconfirmed
            }
        }
        val changed = items.filter { it.state !== told[it.id] }
        told.clear()
        items.forEach { told[it.id] = it.state }
        return changed.map { it.tap() }
    }

    /** When the queue wants to be woken; null: not. */
    @Synchronized
    fun next(): Long? = items.filter { !it.state.over }
        .flatMap {
            listOfNotNull(
                (it.tapped + CONFIRM).takeIf { _ -> it.state == TapState.Acting },
                min(it.due, it.end).takeIf { _ -> !it.flying },
            )
        }
        .minOrNull()

    /** Every tap that is remembered, oldest first. */
    @Synchronized
    fun all(): List<Tap> = items.map { it.tap() }

    /** Forgets what is on the disk; whoever looks learns that none of it was done, for [error]. */
    @Synchronized
    fun clear(error: TocsinException) {
        items.filter { !it.state.over }.forEach { it.state = TapState.Refused(error) }
        kept.clear()
    }

    private fun over(item: Item, state: TapState) {
        item.state = state
        try {
            kept.change { it.toBuilder().clearEntries().addAllEntries(it.entriesList.filter { e -> e.request.actionId != item.id }).build() }
        } catch (_: IOException) {
            // After a restart it is sent once more, and gets the answer that it got.
        }
    }

    private companion object {
        const val CONFIRM = 15_000L
        const val PATIENCE = 10 * 60_000L
        const val REMEMBERED = 50
    }
}
