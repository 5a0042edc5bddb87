// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package com.example.oncall

import android.app.Application
import android.content.Intent
import com.google.firebase.messaging.FirebaseMessagingService
import com.google.firebase.messaging.RemoteMessage
import dev.tocsin.EnrolmentLink
import dev.tocsin.android.Look
import dev.tocsin.android.Tocsin

/** In the manifest: `android:name=".App"`, and `android:directBootAware="true"`, so that a phone that was restarted rings before it is unlocked. */
class App : Application() {
    lateinit var tocsin: Tocsin

    override fun onCreate() {
        super.onCreate()
        val look = Look(
            agent = "Example On-Call/3.1",
            icon = R.drawable.ic_page,
            open = { context, incident -> Intent(context, IncidentActivity::class.java).putExtra("incident", incident) },
        )
        tocsin = Tocsin.start(this, look)
    }
}

/**
 * In the manifest: `android:name=".Messages"`, `android:exported="false"`, `android:directBootAware="true"`, with an intent
 * filter for `com.google.firebase.MESSAGING_EVENT`. Beside firebase-messaging it takes firebase-messaging-directboot.
 */
class Messages : FirebaseMessagingService() {
    private val tocsin get() = (application as App).tocsin

    override fun onMessageReceived(message: RemoteMessage) {
        tocsin.onMessage(message.data, message.priority, message.originalPriority)
    }

    override fun onNewToken(token: String) = tocsin.onNewToken(token)

    // Google has thrown away what waited for this phone: what is open is read anew when the app is.
    override fun onDeletedMessages() = tocsin.refresh()
}

/** What is behind the app's links, `https://<server>/enrol#…`, and behind its scanner of QR codes. */
suspend fun enrol(tocsin: Tocsin, link: String, ask: suspend (String) -> Boolean) {
    val enrolment = EnrolmentLink.parse(link)
    val whose = tocsin.preview(enrolment)
    if (ask("Be paged on this phone as ${whose.userDisplayName} of ${whose.organization}?")) {
        tocsin.enrol(enrolment)
        tocsin.phone.sendTest() // the person says whether it was heard: confirmTest
    }
}
