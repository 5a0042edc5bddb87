// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin.android

import android.app.Notification
import android.app.NotificationChannel
import android.app.NotificationManager
import android.content.Context
import android.media.AudioAttributes
import android.provider.Settings
import dev.tocsin.Push

/** The channels that cards are on. The owner of the phone has the last word about each. */
internal class Channels(context: Context, private val look: Look) {
    private val notifications = context.service<NotificationManager>()

    /** Makes those that are not there; what is there is not touched, as the system does not let anybody. */
    fun make() {
        if (notifications.isNotificationPolicyAccessGranted) {
            loud(id(CRITICAL), look.texts.criticalPages, look.criticalSound) { setBypassDnd(true) }
        }
        loud(id(NORMAL), look.texts.pages, look.sound) {}
        if (notifications.getNotificationChannel(INFO) == null) {
            notifications.createNotificationChannel(
                NotificationChannel(INFO, look.texts.information, NotificationManager.IMPORTANCE_LOW).apply { setShowBadge(true) },
            )
        }
        // The owner's choices about a sound that is gone would confuse him.
        notifications.notificationChannels.map { it.id }
            .filter { it.startsWith("page_") && it != id(CRITICAL) && it != id(NORMAL) }
            .forEach(notifications::deleteNotificationChannel)
    }

    private fun loud(id: String, name: String, sound: android.net.Uri?, more: NotificationChannel.() -> Unit) {
        if (notifications.getNotificationChannel(id) != null) return
        val channel = NotificationChannel(id, name, NotificationManager.IMPORTANCE_HIGH).apply {
            // An alarm: it sounds with the volume of alarms, whatever the ringer says.
            setSound(
                sound ?: Settings.System.DEFAULT_ALARM_ALERT_URI,
                AudioAttributes.Builder().setUsage(AudioAttributes.USAGE_ALARM).setContentType(AudioAttributes.CONTENT_TYPE_SONIFICATION).build(),
            )
            enableVibration(true)
            vibrationPattern = longArrayOf(0, 800, 400, 800, 400, 800)
            enableLights(true)
            lockscreenVisibility = Notification.VISIBILITY_PRIVATE
            more()
        }
        notifications.createNotificationChannel(channel)
    }

    /** The channel of a card: the one that the push names, where the owner has it. */
    fun of(push: Push): String = when (push.channel) {
        CRITICAL -> critical()?.id ?: id(NORMAL)
        NORMAL -> id(NORMAL)
        else -> INFO
    }

    /** The channel that goes through do not disturb; null until access to it was granted. */
    fun critical(): NotificationChannel? = notifications.getNotificationChannel(id(CRITICAL))

    fun normal(): NotificationChannel? = notifications.getNotificationChannel(id(NORMAL))

    /** The name of a channel with its version: "page_critical_v2". */
    private fun id(name: String) = if (look.soundVersion > 1) "${name}_v${look.soundVersion}" else name

    companion object {
        const val CRITICAL = "page_critical"
        const val NORMAL = "page_normal"
        const val INFO = "info"
    }
}
