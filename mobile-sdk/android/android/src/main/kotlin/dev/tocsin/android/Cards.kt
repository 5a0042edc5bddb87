// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin.android

import android.app.Notification
import android.app.NotificationManager
import android.app.PendingIntent
import android.content.Context
import android.content.Intent
import android.graphics.drawable.Icon
import android.net.Uri
import android.os.Build
import dev.tocsin.Arrival
import dev.tocsin.Card
import dev.tocsin.Incoming
import dev.tocsin.Push
import dev.tocsin.Shown
import dev.tocsin.Tap
import dev.tocsin.TapState
import dev.tocsin.v1.ActRequest.Verb
import dev.tocsin.v1.Incident

/** The cards on the screen: one for each tag, replaced in place. */
internal class Cards(private val context: Context, private val look: Look, private val channels: Channels, private val settings: Settings) {
    private val notifications = context.service<NotificationManager>()

    /** Shows what arrived, and says what became of it. [now] is by the server's clock. */
    fun show(incoming: Incoming, now: Long): Shown {
        val push = incoming.push
        val title = if (incoming.arrival == Arrival.MISSED) look.texts.missed.format(incoming.title) else incoming.title
        when (incoming.arrival) {
            Arrival.DUPLICATE, Arrival.STALE, Arrival.NOTHING -> return Shown.Nothing
            Arrival.REPLACE, Arrival.MISSED -> {
                val hidden = settings.hides(Channels.INFO)
                if (hidden.isNotEmpty()) return Shown.Suppressed(hidden)
                post(push.tag, card(Channels.INFO, push.tag, push.incidentId, title, incoming.subtitle, incoming.body).build())
                return Shown.Displayed(audible = false)
            }
            Arrival.RING -> {}
        }
        val channel = channels.of(push)
        val hidden = settings.hides(channel)
        if (hidden.isNotEmpty()) return Shown.Suppressed(hidden)
        post(push.tag, page(incoming, channel, now))
        val quiet = if (push.audible) settings.quiets(channel) else "channel"
        return Shown.Displayed(audible = quiet.isEmpty(), quiet = if (push.audible) quiet else "")
    }

    private fun page(incoming: Incoming, channel: String, now: Long): Notification {
        val push = incoming.push
        val actions = if (push.offersAcknowledge) listOf(acknowledge(Card.of(incoming), push.incidentId)) else emptyList()
        // What the lock screen shows: the text in the clear, and the same button.
        val public = card(channel, push.tag, push.incidentId, push.title, "", push.body).setActions(*actions.toTypedArray()).build()
        val card = card(channel, push.tag, push.incidentId, incoming.title, incoming.subtitle, incoming.body)
            .setCategory(Notification.CATEGORY_ALARM)
            .setVisibility(Notification.VISIBILITY_PRIVATE)
            .setPublicVersion(public)
            .setActions(*actions.toTypedArray())
            .setNumber(push.badge)
            .setOnlyAlertOnce(false)
        if (push.expires > 0) card.setTimeoutAfter((push.expires - now).coerceAtLeast(1_000))
        if (push.kind == Push.Kind.PAGE && settings.mayTakeTheScreen()) card.setFullScreenIntent(opening(push.tag, push.incidentId, push.deliveryId), true)
        return card.build().apply { if (push.insistent) flags = flags or Notification.FLAG_INSISTENT }
    }

    /** Says how it stands with a tap. Nothing here says "acknowledged" but what the server said. */
    fun show(tap: Tap, button: Card, incidentId: String, title: String, locked: Boolean) {
        val texts = look.texts
        when (val state = tap.state) {
            TapState.Acting -> post(
                tap.tag,
                card(Channels.INFO, tap.tag, incidentId, title, "", listOfNotNull(acting(tap.verb), texts.notKept.takeIf { !tap.kept }, texts.lockedUntilUnlock.takeIf { locked }).joinToString(" "))
                    .setProgress(0, 0, true).setOngoing(true).build(),
            )
            TapState.Unconfirmed -> loud(tap, button, incidentId, title, if (tap.verb == Verb.VERB_ACKNOWLEDGE) texts.notAcknowledged else texts.notDone)
            is TapState.Refused -> loud(tap, null, incidentId, title, "${texts.notDone} ${state.error.message}")
            TapState.GivenUp -> loud(tap, null, incidentId, title, texts.notDone)
            is TapState.Done -> post(
                tap.tag,
                card(Channels.INFO, tap.tag, incidentId, title, "", outcome(state)).setTimeoutAfter(DONE_STAYS).build(),
            )
        }
    }

    private fun acting(verb: Verb) = when (verb) {
        Verb.VERB_RESOLVE -> look.texts.resolving
        Verb.VERB_ESCALATE -> look.texts.escalating
        else -> look.texts.acknowledging
    }

    private fun outcome(done: TapState.Done): String {
        val answer = done.answer
        return when {
            answer.state == Incident.State.STATE_RESOLVED -> look.texts.resolved
            answer.state == Incident.State.STATE_ACKNOWLEDGED && answer.holderIsCaller -> look.texts.heldByYou
            answer.state == Incident.State.STATE_ACKNOWLEDGED -> look.texts.heldBy.format(answer.holder)
            else -> look.texts.triggered.format(answer.holder)
        }
    }

    /** With a sound, on the channel of pages: whoever tapped has turned away. */
    private fun loud(tap: Tap, button: Card?, incidentId: String, title: String, text: String) {
        val card = card(channels.normal()?.id ?: Channels.INFO, tap.tag, incidentId, title, "", text).setCategory(Notification.CATEGORY_ALARM)
        if (button != null) card.setActions(acknowledge(button, incidentId))
        post(tap.tag, card.build())
    }

    /** Nobody is signed in any more: whatever is on the screen is none of anybody's, and the person is told. */
    fun signedOut() {
        clear()
        if (settings.hides(Channels.INFO).isEmpty()) post(SIGNED_OUT, card(Channels.INFO, SIGNED_OUT, "", look.texts.signedOut, "", "").build())
    }

    /** Takes every card off the screen. */
    fun clear() {
        notifications.activeNotifications.filter { it.id == ID }.forEach { notifications.cancel(it.tag, ID) }
    }

    private fun card(channel: String, tag: String, incidentId: String, title: String, subtitle: String, body: String): Notification.Builder {
        val text = listOf(subtitle, body).filter { it.isNotEmpty() }.joinToString("\n")
        return Notification.Builder(context, channel)
            .setSmallIcon(look.icon)
            .setContentTitle(title)
            .setContentText(text)
            .setStyle(Notification.BigTextStyle().bigText(text))
            .setContentIntent(opening(tag, incidentId, ""))
            .setAutoCancel(true)
            .setShowWhen(true)
            .addExtras(android.os.Bundle().apply { putString(TITLE, title) })
    }

    private fun acknowledge(card: Card, incidentId: String): Notification.Action {
        val intent = TapReceiver.intent(context, card, incidentId)
        val tap = PendingIntent.getBroadcast(context, 0, intent, PendingIntent.FLAG_UPDATE_CURRENT or PendingIntent.FLAG_IMMUTABLE)
        val action = Notification.Action.Builder(Icon.createWithResource(context, look.icon), look.texts.acknowledge, tap)
        // On the locked phone too.
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.S) action.setAuthenticationRequired(false)
        return action.build()
    }

    private fun opening(tag: String, incidentId: String, deliveryId: String): PendingIntent {
        val intent = look.open(context, incidentId).addFlags(Intent.FLAG_ACTIVITY_NEW_TASK)
            .putExtra(Tocsin.EXTRA_DELIVERY, deliveryId)
        // Intents that differ in their extras only are one to the system.
        if (intent.data == null) intent.setData(Uri.fromParts("tocsin", tag, null))
        return PendingIntent.getActivity(context, 0, intent, PendingIntent.FLAG_UPDATE_CURRENT or PendingIntent.FLAG_IMMUTABLE)
    }

    private fun post(tag: String, card: Notification) = notifications.notify(tag, ID, card)

    /** The title of the card that is on the screen, which a tap's state is shown with. */
    fun title(tag: String): String =
        notifications.activeNotifications.firstOrNull { it.id == ID && it.tag == tag }?.notification?.extras?.getString(TITLE).orEmpty()

    companion object {
        const val ID = 0x70c51
        private const val TITLE = "dev.tocsin.title"
        private const val SIGNED_OUT = "signed-out"
        private const val DONE_STAYS = 60_000L
    }
}
