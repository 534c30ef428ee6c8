<?php
/**
 * Reports each change of an order to clew. PrestaShop 1.7 and 8. Zip it as clew/clew.php.
 */
class Clew extends Module
{
    public function __construct()
    {
        $this->name = 'clew';
        $this->version = '1.0.0';
        $this->author = 'clew';
        parent::__construct();
        $this->displayName = 'clew';
        $this->description = 'Reports orders to clew by webhook, signed.';
    }

    public function install()
    {
        return parent::install()
            && Db::getInstance()->execute('CREATE TABLE IF NOT EXISTS `' . _DB_PREFIX_ . 'clew_order` (`id_order` INT NOT NULL PRIMARY KEY, `token` VARCHAR(200) NOT NULL)')
            && $this->registerHook('actionValidateOrder') && $this->registerHook('actionOrderStatusPostUpdate')
            && $this->registerHook('actionOrderSlipAdd');
    }

    public function getContent()
    {
        if (Tools::isSubmit('clew_url')) {
            Configuration::updateValue('CLEW_URL', Tools::getValue('clew_url'));
            Configuration::updateValue('CLEW_SECRET', Tools::getValue('clew_secret'));
        }
        $value = fn ($key) => htmlspecialchars((string) Configuration::get($key), ENT_QUOTES);
        return '<form method="post" class="panel"><label>Address <input name="clew_url" value="' . $value('CLEW_URL') . '"></label>'
            . '<label>Secret <input name="clew_secret" type="password" value="' . $value('CLEW_SECRET') . '"></label>'
            . '<button class="btn btn-primary">Save</button></form>';
    }

    /** The order is new: the customer's own request, or a payment's callback. */
    public function hookActionValidateOrder($params)
    {
        $token = (string) ($_SERVER['HTTP_X_CLEW_REFERRAL'] ?? '');
        if (preg_match('/^[A-Za-z0-9_-]{1,200}$/', $token)) {
            Db::getInstance()->insert('clew_order', ['id_order' => (int) $params['order']->id, 'token' => pSQL($token)], false, true, Db::REPLACE);
        }
        $this->send($params['order'], $params['orderStatus']);
    }

    public function hookActionOrderStatusPostUpdate($params)
    {
        $this->send(new Order((int) $params['id_order']), $params['newOrderStatus']);
    }

    public function hookActionOrderSlipAdd($params)
    {
        $this->send($params['order'], $params['order']->getCurrentOrderState());
    }

    private function money($value)
    {
        return number_format((float) $value, 6, '.', '');
    }

    /** A text as clew takes it: without control characters, at most 200 characters. */
    private function text($value)
    {
        return mb_substr(trim((string) preg_replace('/[\p{Cc}\p{Zl}\p{Zp}]+/u', ' ', (string) $value)), 0, 200);
    }

    private function send($order, $status)
    {
        if (!Configuration::get('CLEW_URL') || !Configuration::get('CLEW_SECRET')) {
            return;
        }
        $states = [Configuration::get('PS_OS_CANCELED') => 'cancelled', Configuration::get('PS_OS_REFUND') => 'refunded',
            Configuration::get('PS_OS_ERROR') => 'held'];
        $state = $states[$status->id] ?? ($status->paid ? 'paid' : 'placed');
        $refunds = array_map(fn ($slip) => ['id' => (string) $slip['id_order_slip'],
            'amount' => $this->money($slip['total_products_tax_incl'] + $slip['total_shipping_tax_incl'])], OrderSlip::getOrdersSlip((int) $order->id_customer, (int) $order->id));
        $items = array_map(fn ($p) => array_filter(['id' => $this->text($p['product_reference']) ?: (string) $p['product_id'], 'name' => $this->text($p['product_name']),
            'category' => $this->text((new Category((int) ($p['id_category_default'] ?? 0), (int) Configuration::get('PS_LANG_DEFAULT')))->name), 'quantity' => (int) $p['product_quantity'], 'price' => $this->money($p['unit_price_tax_incl'])], fn ($value) => $value !== ''), array_values($order->getProducts()));
        $token = Db::getInstance()->getValue('SELECT `token` FROM `' . _DB_PREFIX_ . 'clew_order` WHERE `id_order` = ' . (int) $order->id);
        $email = strtolower(trim((string) (new Customer((int) $order->id_customer))->email));
        // Rules that the shop applies by itself have no code.
        $codes = array_filter(array_map(fn ($rule) => (new CartRule((int) $rule['id_cart_rule']))->code, $order->getCartRules()));
        $body = array_filter([
            'id' => $order->reference, 'numbers' => ['prestashop:' . $order->id],
            'total' => $this->money($order->total_paid), 'currency' => (new Currency((int) $order->id_currency))->iso_code,
            'tax' => $this->money($order->total_paid_tax_incl - $order->total_paid_tax_excl), 'shipping' => $this->money($order->total_shipping_tax_excl),
            'discount' => $this->money($order->total_discounts_tax_incl), 'state' => $state, 'refunds' => $refunds,
            'coupon' => $this->text(reset($codes)) ?: null,
            // clew takes 200 items; a part of them would make wrong sums.
            'items' => count($items) <= 200 ? $items : null,
            'visitor' => $token ?: null, 'placed_at' => strtotime($order->date_add), 'updated_at' => time(),
            // Without an address, its hash would be that of all orders without one.
            'email_hash' => $email ? hash('sha256', $email) : null,
        ], fn ($value) => $value !== null && $value !== []);
        // https://github.com/standard-webhooks/standard-webhooks
        [$id, $at, $text] = [bin2hex(random_bytes(16)), time(), json_encode($body)];
        $mac = base64_encode(hash_hmac('sha256', "$id.$at.$text", Configuration::get('CLEW_SECRET'), true));
        $call = curl_init(Configuration::get('CLEW_URL'));
        curl_setopt_array($call, [CURLOPT_POST => true, CURLOPT_POSTFIELDS => $text, CURLOPT_RETURNTRANSFER => true, CURLOPT_TIMEOUT => 5,
            CURLOPT_HTTPHEADER => ['Content-Type: application/json', "webhook-id: $id", "webhook-timestamp: $at", "webhook-signature: v1,$mac"]]);
        $answer = curl_exec($call);
        if (curl_getinfo($call, CURLINFO_RESPONSE_CODE) != 200) {
            PrestaShopLogger::addLog('clew did not take order ' . $body['id'] . ': ' . ($answer ?: curl_error($call)), 3);
        }
        curl_close($call);
    }
}
