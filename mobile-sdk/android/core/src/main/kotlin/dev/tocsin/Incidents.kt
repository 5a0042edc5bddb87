// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin

import dev.tocsin.v1.AcknowledgeIncidentRequest
import dev.tocsin.v1.EscalateIncidentRequest
import dev.tocsin.v1.GetIncidentRequest
import dev.tocsin.v1.Incident
import dev.tocsin.v1.IncidentServiceGrpcKt.IncidentServiceCoroutineStub
import dev.tocsin.v1.ListIncidentsRequest
import dev.tocsin.v1.ListIncidentsResponse
import dev.tocsin.v1.ResolveIncidentRequest
import dev.tocsin.v1.WatchIncidentsRequest
import io.grpc.Metadata
import java.util.UUID
import kotlinx.coroutines.channels.ReceiveChannel
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.FlowCollector
import kotlinx.coroutines.flow.catch
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.flow.produceIn
import kotlinx.coroutines.withTimeoutOrNull

/** What a watcher of incidents learns. */
public sealed class Change {
    /** All incidents that match: they take the place of whatever was on the screen. */
    public class Listed internal constructor(public val incidents: List<Incident>) : Change()

    /** One incident as it is now, without alerts and details. */
    public class Changed internal constructor(public val incident: Incident) : Change()

    /**
     * Whether what is on the screen is what the server says, as of [since] by the server's clock. Nothing is lost
     * while it is not: when the line is back, what was missed comes.
     */
    public class Line internal constructor(public val live: Boolean, public val since: Long, public val error: TocsinException?) : Change()
}

/**
 * Incidents, inside the app. Each change is made once, however often the call is repeated on the way: with one
 * request id, which is new for each call of these functions.
 *
 * All throw [TocsinException].
 */
public class Incidents internal constructor(private val phone: Phone) {
    /** The page of incidents that [request] asks for. By default the open ones, newest first. */
    public suspend fun list(request: ListIncidentsRequest = ListIncidentsRequest.getDefaultInstance()): ListIncidentsResponse =
        call { h -> listIncidents(request, h) }

    /** One incident; [name] is `incidents/…`. */
    public suspend fun get(name: String): Incident =
        call { h -> getIncident(GetIncidentRequest.newBuilder().setName(name).build(), h) }

    /** Takes [incident] in hand. Whoever was faster holds it; read it in the answer. */
    public suspend fun acknowledge(incident: Incident): Incident {
        val request = AcknowledgeIncidentRequest.newBuilder().setName(incident.name).setRequestId(id()).setClientTime(now()).build()
        return repeated { h -> acknowledgeIncident(request, h) }
    }

    /** Ends [incident], unless it has changed since it was read ([TocsinException.Moved]). [note] says what it was. */
    public suspend fun resolve(incident: Incident, note: String = ""): Incident {
        val request = ResolveIncidentRequest.newBuilder().setName(incident.name).setRequestId(id()).setEtag(incident.etag)
            .setClientTime(now()).setNote(note).build()
        return repeated { h -> resolveIncident(request, h) }
    }

    /** Pages the level after [level], which is the one on the screen: a double tap goes one level and not two. */
    public suspend fun escalate(incident: Incident, level: Int): Incident {
        val request = EscalateIncidentRequest.newBuilder().setName(incident.name).setRequestId(id()).setExpectedLevel(level)
            .setClientTime(now()).build()
        return repeated { h -> escalateIncident(request, h) }
    }

    /**
     * All incidents that [filter] matches, and every change of them, until the collector is cancelled: first
     * [Change.Listed], then [Change.Changed] as things change. When the line breaks it comes back by itself, from
     * where it was; after a day away everything is listed again. A change that came already is not repeated.
     *
     * Of [filter] `services`, `teams` and `assignees` count. Throws [TocsinException] for what does not pass by
     * itself: signed out, not allowed.
     */
    public fun watch(filter: WatchIncidentsRequest = WatchIncidentsRequest.getDefaultInstance()): Flow<Change> = flow {
        Watch(this, filter).run()
    }

    /** One watcher and how far it is. */
    private inner class Watch(private val out: FlowCollector<Change>, private val filter: WatchIncidentsRequest) {
        private val revisions = HashMap<String, Long>()
        private var cursor = ""
        private var failures = 0
        private var live = false

        suspend fun run() {
            while (true) {
                try {
                    if (cursor.isEmpty()) list()
                    follow()
                } catch (e: TocsinException) {
                    when {
                        e is TocsinException.ListAgain -> cursor = ""
                        e.passes -> pause(e)
                        else -> throw e
                    }
                }
            }
        }

        private suspend fun list() {
            val all = ArrayList<Incident>()
            val request = ListIncidentsRequest.newBuilder().setPageSize(200)
                .addAllServices(filter.servicesList).addAllTeams(filter.teamsList).addAllAssignees(filter.assigneesList)
            var begin = ""
            do {
                val page = list(request.build())
                if (begin.isEmpty()) begin = page.watchCursor
                all += page.incidentsList
                request.pageToken = page.nextPageToken
            } while (page.nextPageToken.isNotEmpty())
            revisions.clear()
            all.forEach { revisions[it.name] = it.revision }
            out.emit(Change.Listed(all))
            cursor = begin
            if (!live) line(true, null)
        }

        private suspend fun follow() {
            val (credential, calls) = phone.session()
            val request = filter.toBuilder().setCursor(cursor).build()
            phone.noticing {
                coroutineScope {
                    // The error comes in its turn, behind what was told before it.
                    val messages = calls.incidents.watchIncidents(request, Calls.bearer(credential))
                        .map { Result.success(it) }
                        .catch { emit(Result.failure(it)) }
                        .produceIn(this)
                    try {
                        while (true) {
                            val message = messages.orSilence() ?: break
                            failures = 0
                            if (!live) line(true, null)
                            cursor = message.cursor
                            if (message.hasIncident()) changed(message.incident)
                        }
                    } finally {
                        messages.cancel()
                    }
                }
            }
            // The server ends a stream when it goes: come back at once, and slower when that repeats.
            pause(null)
        }

        private suspend fun changed(incident: Incident) {
            if (incident.revision <= (revisions[incident.name] ?: -1)) return
            revisions[incident.name] = incident.revision
            out.emit(Change.Changed(incident))
        }

        private suspend fun pause(error: TocsinException?) {
            if (live || failures == 0) line(false, error)
            failures++
            if (error != null || failures > 1) delay(PAUSE.after(failures, error))
        }

        private suspend fun line(live: Boolean, error: TocsinException?) {
            this.live = live
            out.emit(Change.Line(live, phone.clock.now(), error))
        }
    }

    private suspend fun <A> call(call: suspend IncidentServiceCoroutineStub.(Metadata) -> A): A =
        phone.call { credential, calls -> calls.incidents.within(CALL).call(Calls.bearer(credential)) }

    /** What the server may have done though no answer came is asked for again, and answered as before. */
    private suspend fun <A> repeated(call: suspend IncidentServiceCoroutineStub.(Metadata) -> A): A {
        for (failures in 1..2) {
            try {
                return call(call)
            } catch (e: TocsinException) {
                if (!e.passes) throw e
                delay(PAUSE.after(failures, e).coerceAtMost(CALL))
            }
        }
        return call(call)
    }

    private fun id() = UUID.randomUUID().toString()

    private fun now() = timestamp(phone.clocks.wall())

    private companion object {
        const val CALL = 10_000L
        const val SILENCE = 40_000L // a heartbeat comes after 15 s
        val PAUSE = Pause()

        /** The next message, null at the end of the stream. A line on which nothing comes is a dead one. */
        suspend fun <A : Any> ReceiveChannel<Result<A>>.orSilence(): A? {
            val next = withTimeoutOrNull(SILENCE) { receiveCatching() }
                ?: throw TocsinException.Unreachable(TocsinException.Facts("nothing came for 40 s, not even a heartbeat", "", "", null))
            return next.getOrNull()?.getOrThrow()
        }
    }
}
